"""People on the admin pages."""

from typing import Any

from django.contrib import admin
from django.db import connection
from django.http import HttpRequest

from killswitch.accounts.admin_forms import NewPersonForm, OwnProfileForm, PersonForm
from killswitch.accounts.admin_site import AuditedModelAdmin, signed_in_person
from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import actor
from killswitch.accounts.mfa import services
from killswitch.accounts.models import User
from killswitch.accounts.services import lock_administrators, save_person


@admin.register(User)
class PersonAdmin(AuditedModelAdmin):
    """Add people, give roles, set passwords, switch off. Nobody does it to themselves."""

    list_display = ("username", "full_name", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username", "full_name")
    ordering = ("username",)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> User | None:
        """Read for writing under lock, so that what is recorded as old really was."""
        person = super().get_object(request, object_id, from_field)
        if person is not None and request.method == "POST" and connection.in_atomic_block:
            lock_administrators(person)
            person.refresh_from_db()
        return person

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        if obj.pk == request.user.pk:
            return ("username", "role", "is_active", "last_login")
        return ("username", "last_login")

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        described = ("username", "full_name", "role", "is_active")
        if obj is None:
            return (*described[:3], "password1", "password2")
        if obj.pk == request.user.pk:
            return (*described, "last_login")
        reset = ("reset_second_factor",) if services.has_one(obj) else ()
        return (*described, "last_login", "password1", "password2", *reset)

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = NewPersonForm
        else:
            kwargs["form"] = OwnProfileForm if obj.pk == request.user.pk else PersonForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: ARG002
        save_person(
            obj,
            new_password=form.cleaned_data.get("password1", ""),
            reset_second_factor=form.cleaned_data.get("reset_second_factor", False),
            by=actor(signed_in_person(request)),
            origin=client_info(request),
        )
