"""The admin pages on which administrators add, describe, order and disable exchanges."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from killswitch.accounts.admin_site import AuditedModelAdmin
from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user
from killswitch.exchanges.models import WATCHED, Exchange
from killswitch.exchanges.registry import InvalidExchangeId, check_exchange_id
from killswitch.exchanges.services import save_exchange, what_goes_on


class ExchangeForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """An exchange as administrators describe it; its ID only has to be readable and comparable."""

    class Meta:
        model = Exchange
        fields = WATCHED

    def clean_exchange_id(self) -> str:
        exchange_id: str = self.cleaned_data["exchange_id"]
        try:
            check_exchange_id(exchange_id)
        except InvalidExchangeId:
            message = "Remove spaces and control characters."
            raise forms.ValidationError(message) from None
        return exchange_id


@admin.register(Exchange)
class ExchangeAdmin(AuditedModelAdmin):
    """Add, describe, order, enable, disable. Disabling never stops a cancel in flight."""

    form = ExchangeForm
    list_display = ("exchange_id", "name", "enabled", "position", "open_orders", "seen_at")
    list_filter = ("enabled",)
    search_fields = ("exchange_id", "name")
    ordering = ("position", "exchange_id")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return () if obj is None else ("exchange_id",)

    def get_form(
        self, request: HttpRequest, obj: Exchange | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form, which says what goes on although the exchange is disabled."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None and (note := what_goes_on(obj)):
            form.base_fields["enabled"].help_text = f"If it is disabled: {note}"
        return form

    def save_model(self, request: HttpRequest, obj: Exchange, form: Any, change: bool) -> None:  # noqa: ARG002
        save_exchange(obj, by=current_user(request).actor, origin=client_info(request))
