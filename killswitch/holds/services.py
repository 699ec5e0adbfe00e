"""What a person can do about a Hold: start it, and with another person release it."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from killswitch.accounts.models import User
from killswitch.audit.actors import SYSTEM, Actor
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import Recording, recording
from killswitch.cancels import services as cancels
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.exchanges.models import Exchange
from killswitch.exchanges.services import disabling_notes
from killswitch.holds.models import Hold, HoldState
from killswitch.runtime.foreign_keys import check_foreign_keys_at_once
from killswitch.runtime.text import clean_line

MAX_REASON_CHARS = 500
RELEASE_VALID_FOR = timedelta(minutes=15)  # for which a request to release can be confirmed


class ReleaseRefused(Exception):
    """Nothing was changed."""


class NotHeld(ReleaseRefused):
    """The exchange has no active Hold."""


class ReasonMissing(ReleaseRefused):
    """A release needs a reason."""


class ReleaseAlreadyRequested(ReleaseRefused):
    """Its release has been requested; it waits to be confirmed."""


class ReleaseNotRequested(ReleaseRefused):
    """Its release was not requested, was withdrawn, or is not the one that the page showed."""


class ReleaseLapsed(ReleaseRefused):
    """Its release was not confirmed in time; the Hold stays in force."""


class SamePerson(ReleaseRefused):
    """The release must be confirmed by another person than the one who requested it."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """Who acts on a Hold, and from where."""

    by: Actor
    origin: Origin
    user: User | None = None  # None on the command line
    address: str = ""
    user_agent: str = ""

    @classmethod
    def of_user(cls, user: User, *, address: str = "", user_agent: str = "") -> "Act":
        return cls(
            by=user.actor,
            origin=Origin.BROWSER,
            user=user,
            address=clean_line(address, max_chars=100),
            user_agent=clean_line(user_agent, max_chars=500),
        )

    @property
    def data(self) -> dict[str, Any]:
        return {
            "origin": str(self.origin),
            "address": self.address,
            "user_agent": self.user_agent,
        }


@dataclass(frozen=True, kw_only=True)
class StartResult:
    """The active Hold of an exchange, and whether it was there before."""

    hold: Hold
    is_new: bool


def start_hold(exchange: Exchange, *, act: Act, reason: str) -> StartResult:
    """Hold an exchange, whether enabled or not; a held one keeps the Hold that it has."""
    with recording() as record:
        return _start(record, [exchange], act=act, reason=reason)[0]


def request_release(hold: Hold, *, act: Act, reason: str) -> Hold:
    """Request the release of a Hold, or release it where one person is enough.

    Raises `NotHeld`, `ReasonMissing` and `ReleaseAlreadyRequested`.
    """
    text = clean_line(reason, max_chars=MAX_REASON_CHARS)
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        raise ReasonMissing  # nothing in it can be read
    with recording() as record:
        check_foreign_keys_at_once()
        hold, now = _locked(hold)
        _lapse_if_due(record, hold, now=now)
        if hold.state == HoldState.RELEASE_REQUESTED:
            raise ReleaseAlreadyRequested
        hold.state = HoldState.RELEASE_REQUESTED
        hold.release_requested_at = now
        hold.release_requested_by, hold.release_requested_role = act.by.name, act.by.role
        hold.release_requested_user = act.user
        hold.release_reason = text
        _record_release(record, EventKind.HOLD_RELEASE_REQUESTED, hold, act=act)
        if settings.HOLD_RELEASE_PERSONS == 1:
            _release(record, hold, act=act, now=now)
        record.changed(hold)
        hold.save()
    return hold


def confirm_release(
    hold: Hold, *, act: Act, requested_at: datetime | None = None, note: str = ""
) -> Hold:
    """Release a Hold at the request of another person; nothing else starts by it.

    `requested_at` is the request that the page showed; the note is kept in the event. Raises
    `NotHeld`, `ReleaseNotRequested`, `ReleaseLapsed` and `SamePerson`.
    """
    with recording() as record:
        hold, now = _locked(hold)
        has_lapsed = _lapse_if_due(record, hold, now=now)
        if not has_lapsed:
            _check_request(hold, requested_at=requested_at)
            if settings.HOLD_RELEASE_PERSONS > 1 and is_same_person(hold, act=act):
                raise SamePerson
            _release(record, hold, act=act, now=now, note=note)
        record.changed(hold)
        hold.save()
    if has_lapsed:
        raise ReleaseLapsed
    return hold


def withdraw_release(hold: Hold, *, act: Act, requested_at: datetime | None = None) -> Hold:
    """Withdraw a request to release: any risk officer may, and the Hold stays in force.

    Raises `NotHeld`, `ReleaseNotRequested` and `ReleaseLapsed`.
    """
    with recording() as record:
        hold, now = _locked(hold)
        has_lapsed = _lapse_if_due(record, hold, now=now)
        if not has_lapsed:
            _check_request(hold, requested_at=requested_at)
            _record_release(record, EventKind.HOLD_RELEASE_WITHDRAWN, hold, act=act)
            _forget_request(hold)
        record.changed(hold)
        hold.save()
    if has_lapsed:
        raise ReleaseLapsed
    return hold


def lapse_overdue_releases() -> None:
    """End the requests to release that were not confirmed in time."""
    overdue = Hold.objects.filter(
        state=HoldState.RELEASE_REQUESTED, release_requested_at__lt=Now() - RELEASE_VALID_FOR
    )
    for pk in list(overdue.values_list("pk", flat=True)):
        with recording() as record:
            hold, now = _locked(Hold(pk=pk))
            if _lapse_if_due(record, hold, now=now):
                record.changed(hold)
                hold.save()


def is_same_person(hold: Hold, *, act: Act) -> bool:
    """Return True if this is, or may be, the person who requested the release.

    A login of the operating system and a user of the same name are taken for one person.
    """
    if act.user is not None and act.user.pk == hold.release_requested_user_id:
        return True
    requester = hold.release_requested_user
    names = {
        requester.username if requester else hold.release_requested_by.removeprefix("os:"),
        hold.release_requested_by,
    }
    own = act.user.username if act.user else act.by.name.removeprefix("os:")
    return own.casefold() in {name.casefold() for name in names}


def start_with_press(
    record: Recording, batch: Batch, requests: Sequence[CancelRequest], by: Actor
) -> None:
    """Hold the exchanges of a press that asks for it, in the transaction of the press."""
    if batch.hold:
        act = Act(by=by, origin=Origin(batch.origin), address=batch.address)
        exchanges = [request.configured_exchange for request in requests]
        _start(record, exchanges, act=act, reason=batch.reason, batch=batch)


cancels.press_recorders.append(start_with_press)


def note_on_disabled(exchange: Exchange) -> str:
    """Return that the exchange stays held although it is disabled; "" if it is not held."""
    if not Hold.objects.active().filter(configured_exchange=exchange).exists():
        return ""
    return (
        f"{exchange.exchange_id} stays held: the Hold keeps cancelling what the EMS lists there."
        " No other cancel can be requested from here."
    )


disabling_notes.append(note_on_disabled)


def _start(
    record: Recording,
    exchanges: Sequence[Exchange],
    *,
    act: Act,
    reason: str,
    batch: Batch | None = None,
) -> list[StartResult]:
    # The revision comes first: two people who hold the same exchange do it one after the other.
    revision = record.revision
    pks = [exchange.pk for exchange in exchanges]
    held = {
        hold.configured_exchange_id: hold
        for hold in Hold.objects.active().filter(configured_exchange__in=pks)
    }
    now = datetime.now(UTC)
    results = []
    for exchange in exchanges:
        if hold := held.get(exchange.pk):
            results.append(StartResult(hold=hold, is_new=False))
            continue
        hold = Hold.objects.create(
            configured_exchange=exchange,
            exchange_id=exchange.exchange_id,
            batch=batch,
            origin=act.origin,
            started_at=now,
            started_by=act.by.name,
            started_role=act.by.role,
            reason=clean_line(reason, max_chars=MAX_REASON_CHARS),
            revision=revision,
        )
        record.event(
            EventKind.HOLD_STARTED,
            actor=act.by,
            exchange_id=hold.exchange_id,
            data={
                "hold": str(hold.uuid),
                "batch": str(batch.uuid) if batch else None,
                "started_at": utc_text(now),
                "reason": hold.reason,
                "open_orders": exchange.open_orders,
                "open_orders_seen_at": utc_text(exchange.seen_at) if exchange.seen_at else None,
                **act.data,
            },
        )
        results.append(StartResult(hold=hold, is_new=True))
    return results


def _locked(hold: Hold) -> tuple[Hold, datetime]:
    """Lock an active Hold, and return it with the database's time. Raises `NotHeld`."""
    locked = Hold.objects.active().locked().filter(pk=hold.pk).first()
    if locked is None:
        raise NotHeld
    return locked, vars(locked)["now"]


def _check_request(hold: Hold, *, requested_at: datetime | None) -> None:
    is_same = requested_at is None or requested_at == hold.release_requested_at
    if hold.state != HoldState.RELEASE_REQUESTED or not is_same:
        raise ReleaseNotRequested


def _lapse_if_due(record: Recording, hold: Hold, *, now: datetime) -> bool:
    requested_at = hold.release_requested_at
    if requested_at is None or now - requested_at <= RELEASE_VALID_FOR:
        return False
    act = Act(by=SYSTEM, origin=Origin.HOLD)
    _record_release(record, EventKind.HOLD_RELEASE_LAPSED, hold, act=act)
    _forget_request(hold)
    return True


def _forget_request(hold: Hold) -> None:
    hold.state = HoldState.ACTIVE
    hold.release_requested_at, hold.release_requested_user = None, None
    hold.release_requested_by = hold.release_requested_role = hold.release_reason = ""


def _release(record: Recording, hold: Hold, *, act: Act, now: datetime, note: str = "") -> None:
    hold.state = HoldState.RELEASED
    hold.released_at, hold.released_by, hold.released_role = now, act.by.name, act.by.role
    hold.blind_since = hold.orders_since = None
    ending = {
        "released_at": utc_text(now),
        "note": clean_line(note, max_chars=MAX_REASON_CHARS),
    }
    _record_release(record, EventKind.HOLD_RELEASED, hold, act=act, ending=ending)


def _record_release(
    record: Recording,
    kind: EventKind,
    hold: Hold,
    *,
    act: Act,
    ending: Mapping[str, str] | None = None,
) -> None:
    data = {
        "hold": str(hold.uuid),
        "requested_at": utc_text(hold.release_requested_at) if hold.release_requested_at else None,
        "requested_by": hold.release_requested_by,
        "requested_user": hold.release_requested_user_id,
        "reason": hold.release_reason,
        "persons_required": settings.HOLD_RELEASE_PERSONS,
        "open_orders": hold.configured_exchange.open_orders,
        "episodes": hold.episode_count,
        "orders_seen": hold.orders_seen,
        "orders_cancelled": hold.orders_cancelled,
        **act.data,
        **(ending or {}),
    }
    record.event(kind, actor=act.by, exchange_id=hold.exchange_id, data=data)
