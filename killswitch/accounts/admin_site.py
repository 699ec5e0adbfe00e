"""Django's admin pages as this product uses them: administrators only, and one log, ours."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, URLResolver

from killswitch.accounts.decorators import Permission, requires
from killswitch.accounts.models import User

# People sign in, sign out and change their password under /accounts/ and nowhere else.
CLOSED = {
    "login",
    "logout",
    "password_change",
    "password_change_done",
    "autocomplete",
    "view_on_site",
}
CLOSED_FOR_MODELS = ("_delete", "_history")
OFFERED_WAYS = ("exact", "isnull")  # what Django's own filters beside a list link to
MAX_SEARCH_CHARS = 100  # characters


class AdministrationSite(admin.AdminSite):
    """The site under /admin/."""

    site_header = "Kill switch: exchanges and people"
    site_title = "Kill switch"
    index_title = "Exchanges and people"
    site_url = None  # administrators have no console to view

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Only tables whose changes are recorded; other apps offer theirs in vain."""
        if admin_class is not None and issubclass(admin_class, AuditedModelAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return requires(Permission.ADMINISTER)(super().admin_view(view, cacheable))

    def get_urls(self) -> list[Any]:
        """Django's addresses without the closed ones, each marked with what it requires."""
        return _open_and_marked(super().get_urls())


def _open_and_marked(urls: list[Any]) -> list[Any]:
    kept = [url for url in urls if not _is_closed(url)]
    for url in kept:
        if isinstance(url, URLResolver):
            url.url_patterns[:] = _open_and_marked(url.url_patterns)
        else:
            vars(url.callback)["permission"] = Permission.ADMINISTER
    return kept


def _is_closed(url: URLPattern | URLResolver) -> bool:
    name = getattr(url, "name", None) or ""
    return name in CLOSED or name.endswith(CLOSED_FOR_MODELS)


class AuditedModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # not subscriptable when run
    """A table whose rows are added and changed, never deleted, never many at once.

    Each change is an event in the audit log, written by `save_model`. Django's own log of the
    admin pages is not kept beside it: two logs would disagree one day.
    """

    actions = None
    save_as = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:  # noqa: ARG002
        """Only the filters that are offered, and text that a database can hold.

        Django lets a list be filtered by any column of its own, and in any way: by the beginning of
        the hash of a password, which would tell it letter by letter, or by a pattern that keeps the
        process busy for minutes.
        """
        offered = {f"{name}__{way}" for name in self.list_filter for way in OFFERED_WAYS}
        return lookup in offered and "\x00" not in str(value)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Each word is one more condition of the query, so there must not be any number of them."""
        return super().get_search_results(request, queryset, search_term[:MAX_SEARCH_CHARS])

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def log_addition(self, *_args: Any) -> None:  # type: ignore[override]
        """Nothing: see above."""

    def log_change(self, *_args: Any) -> None:  # type: ignore[override]
        """Nothing: see above."""


def signed_in_person(request: HttpRequest) -> User:
    """Who is asking; the guard in front of every admin page has made sure that it is a person."""
    return User.objects.get(username=request.user.get_username())
