"""Django's admin pages as this product uses them: administrators only, and one log, ours."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, URLResolver

from killswitch.accounts.decorators import requires
from killswitch.accounts.permissions import Permission

# Users sign in, sign out and change their password under /accounts/ only.
CLOSED = {
    "login",
    "logout",
    "password_change",
    "password_change_done",
    "autocomplete",
    "view_on_site",
}
CLOSED_FOR_MODELS = ("_delete", "_history")
LOOKUPS = ("exact", "isnull")  # what the filters next to Django's lists link to
MAX_SEARCH_CHARS = 100


class AdministrationSite(admin.AdminSite):
    """The site under /admin/."""

    site_header = "Kill switch: exchanges and users"
    site_title = "Kill switch"
    index_title = "Exchanges and users"
    site_url = None  # administrators have no console to view

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Register audited tables only; ignore the tables that other apps register."""
        if admin_class is not None and issubclass(admin_class, AuditedModelAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return requires(Permission.ADMINISTER)(super().admin_view(view, cacheable))

    def get_urls(self) -> list[Any]:
        """Return Django's addresses without the closed ones, each marked with its permission."""
        return _open_urls(super().get_urls())


def _open_urls(urls: list[URLPattern | URLResolver]) -> list[Any]:
    open_urls = []
    for url in urls:
        if isinstance(url, URLResolver):
            url.url_patterns[:] = _open_urls(url.url_patterns)
        elif url.name and (url.name in CLOSED or url.name.endswith(CLOSED_FOR_MODELS)):
            continue
        else:
            vars(url.callback)["permission"] = Permission.ADMINISTER
        open_urls.append(url)
    return open_urls


class AuditedModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # not subscriptable when run
    """A table with rows that are added and changed one at a time, and never deleted.

    `save_model` records each change in the audit log. Django's own log of the admin pages is not
    kept as well: two logs would disagree one day.
    """

    actions = None
    save_as = False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return the row, locked for a change, so that the recorded old values are true."""
        row = super().get_object(request, object_id, from_field)
        if row is not None and request.method == "POST":
            self.lock(row)
        return row

    def lock(self, row: Any) -> None:
        """Lock a row until the commit and read it again; other rows may still refer to it."""
        row.refresh_from_db(from_queryset=self.model.objects.select_for_update(no_key=True))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return whether a filter is one that the page offers, with text that a database holds.

        Django allows every lookup on every column of the table: the beginning of a password's
        hash, which reveals it letter by letter, or a pattern that takes minutes to match.
        """
        lookups = {f"{name}__{suffix}" for name in self.list_filter for suffix in LOOKUPS}
        return lookup in lookups and "\x00" not in str(value)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search for the first words only: each word is one more condition of the query."""
        return super().get_search_results(request, queryset, search_term[:MAX_SEARCH_CHARS])

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def log_addition(self, *_args: Any) -> None:  # type: ignore[override]
        """Write no entry in Django's own log."""

    def log_change(self, *_args: Any) -> None:  # type: ignore[override]
        """Write no entry in Django's own log."""
