"""Records whether the list of a held exchange can be read: each read, and a Hold that is blind.

All times are by the database's clock.
"""

from collections.abc import Iterable, Mapping

import structlog
from django.db import transaction
from django.db.models.functions import Now

from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.cancels import event_data
from killswitch.holds.hold_alarms import raise_blind_alarm
from killswitch.holds.models import Hold

MAX_ERROR_CHARS = 500

log = structlog.get_logger(__name__)


def record_reads(hold_ids: Iterable[int], *, errors: Mapping[int, str]) -> None:
    """Record which held exchanges could be read just now, and why the others could not.

    No page is told of a read: what they show has the age of the last one. A row that is locked
    elsewhere is left out: it would make the others wait.
    """
    active = Hold.objects.active()
    texts = {pk: error[:MAX_ERROR_CHARS] for pk, error in errors.items()}
    with transaction.atomic():
        rows = active.filter(pk__in=[*hold_ids, *texts]).order_by("pk")
        free = rows.select_for_update(skip_locked=True, no_key=True)
        known = dict(free.values_list("pk", "read_error"))
        read = [pk for pk in hold_ids if pk in known]
        Hold.objects.filter(pk__in=read).update(last_read_at=Now(), read_error="")
        for pk, text in texts.items():
            if pk in known and known[pk] != text:
                Hold.objects.filter(pk=pk).update(read_error=text)


def record_blind(hold_id: int) -> None:
    """Record that the list cannot be read, unless that is on record."""
    with recording() as record:
        hold = _locked(hold_id)
        if hold is None or hold.blind_since is not None:
            return
        hold.blind_since = vars(hold)["now"]
        reason = hold.read_error or "no list has been read"
        record.changed(hold)
        hold.save()
        record.event(
            EventKind.HOLD_BLIND,
            exchange_id=hold.exchange_id,
            data={
                "hold": str(hold.uuid),
                "since": utc_text(hold.blind_since),
                "last_read_at": event_data.utc_text_or_none(hold.last_read_at),
                "error": reason,
            },
        )
        raise_blind_alarm(hold)
    log.error("hold_is_blind", exchange=hold.exchange_id, error=reason)


def record_sight(hold_id: int) -> None:
    """Record that the list of a blind Hold can be read again."""
    with recording() as record:
        hold = _locked(hold_id)
        if hold is None or hold.blind_since is None:
            return
        seconds = (vars(hold)["now"] - hold.blind_since).total_seconds()
        data = {
            "hold": str(hold.uuid),
            "blind_since": utc_text(hold.blind_since),
            "seconds": round(seconds),
        }
        hold.blind_since = None
        record.changed(hold)
        hold.save()
        record.event(EventKind.HOLD_SEES_AGAIN, exchange_id=hold.exchange_id, data=data)


def _locked(hold_id: int) -> Hold | None:
    return Hold.objects.active().locked().filter(pk=hold_id).first()
