"""Exchanges on the admin pages: which ones there are, in which order, and what a cancel misses."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.db import connection, transaction
from django.http import HttpRequest

from killswitch.accounts.admin_site import AuditedModelAdmin, signed_in_person
from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import actor
from killswitch.alarms.models import Kind as AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.chain import Actor, NewEvent, append
from killswitch.audit.models import Kind
from killswitch.exchanges.models import WATCHED, Exchange
from killswitch.exchanges.registry import InvalidExchangeId, check_exchange_id
from killswitch.runtime.revisions import next_revision


class ExchangeForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """The id is opaque text; all that is asked is that it can be read and compared."""

    class Meta:
        model = Exchange
        fields = WATCHED

    def clean_exchange_id(self) -> str:
        exchange_id: str = self.cleaned_data["exchange_id"]
        try:
            check_exchange_id(exchange_id)
        except InvalidExchangeId:
            message = "Leave out white space and control characters."
            raise forms.ValidationError(message) from None
        return exchange_id


@admin.register(Exchange)
class ExchangeAdmin(AuditedModelAdmin):
    """Add, describe, order, switch on and off. Switching off never stops a kill in flight."""

    form = ExchangeForm
    list_display = ("exchange_id", "name", "enabled", "position", "open_orders", "seen_at")
    list_filter = ("enabled",)
    search_fields = ("exchange_id", "name")
    ordering = ("position", "exchange_id")

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Exchange | None:
        """Read for writing under lock, so that what is recorded as old really was.

        A lock that lets others refer to the row: a press does, and must neither wait nor fail.
        """
        exchange = super().get_object(request, object_id, from_field)
        if exchange is None or request.method != "POST" or not connection.in_atomic_block:
            return exchange
        return Exchange.objects.select_for_update(no_key=True).get(pk=exchange.pk)

    def get_readonly_fields(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Exchange | None = None,
    ) -> tuple[str, ...]:
        return () if obj is None else ("exchange_id",)

    def save_model(self, request: HttpRequest, obj: Exchange, form: Any, change: bool) -> None:  # noqa: ARG002
        save_exchange(obj, by=actor(signed_in_person(request)), origin=client_info(request))


def save_exchange(exchange: Exchange, *, by: Actor, origin: Mapping[str, str]) -> None:
    """Write an exchange, new or changed, with its event, as the last thing in the transaction."""
    with transaction.atomic():
        rows = Exchange.objects.select_for_update(no_key=True)
        before = rows.filter(pk=exchange.pk).first()
        changes = _changes(before, exchange)
        if not changes:
            return
        # Only what changed: the observer writes the figures of the same row all the time.
        exchange.save(update_fields=list(changes) if before else None)
        exchange.revision = next_revision()
        exchange.save(update_fields=["revision"])
        fact = NewEvent(
            kind=Kind.EXCHANGE_CHANGED if before else Kind.EXCHANGE_ADDED,
            actor=by,
            exchange_id=exchange.exchange_id,
            data={"changes": changes, **origin},
        )
        is_off = before is not None and before.enabled and not exchange.enabled
        append(fact, *(_alarm(exchange, by=by) if is_off else []))


def _alarm(exchange: Exchange, *, by: Actor) -> list[NewEvent]:
    """Somebody must see it who counts on being able to cancel there."""
    return raise_alarm(
        kind=AlarmKind.PEOPLE,  # what an administrator did, as with a role
        subject=f"exchange {exchange.pk} {exchange.revision}",
        title=f"{exchange.exchange_id} was switched off: nobody can cancel there from here",
        detail=f"By {by.name}.",
        exchange_id=exchange.exchange_id,
        revision=exchange.revision,
    )


def _changes(before: Exchange | None, after: Exchange) -> dict[str, list[object]]:
    """Old and new value of each field that differs; old is None for a new exchange."""
    pairs = {name: [getattr(before, name, None), getattr(after, name)] for name in WATCHED}
    return {name: pair for name, pair in pairs.items() if before is None or pair[0] != pair[1]}
