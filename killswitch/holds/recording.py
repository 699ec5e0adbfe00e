"""Records the episodes of a Hold: their beginning, the orders that they saw, and their end.

The row of a Hold is locked before the row of a request. All times are by the database's clock.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max

from killswitch.alarms.models import AlarmKind
from killswitch.audit.actors import SYSTEM
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import Recording, recording
from killswitch.cancels import event_data
from killswitch.cancels import recording as requests
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.states import Status
from killswitch.holds.hold_alarms import unacknowledged_subject
from killswitch.holds.models import Episode, Hold
from killswitch.holds.order_lives import MAX_SYMBOLS, OrderLives
from killswitch.holds.sight import MAX_ERROR_CHARS

QUIET_S = 10.0  # for which an exchange must be empty before an episode is over
MAX_COUNT = 2**31 - 1  # of the columns


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What the list of a held exchange showed; no orders means that it could not be read."""

    hold_id: int
    orders: int = 0
    symbols: Sequence[str] = ()


def begin_episodes(sightings: Iterable[Sighting]) -> list[int]:
    """Record requests that cancel what is listed, in one transaction, and return their ids.

    An exchange that has an episode in flight, is not held any more, or is being written by another
    process gets none.
    """
    by_hold = {sighting.hold_id: sighting for sighting in sightings}
    with recording(then_release_connection=True) as record:
        rows = Hold.objects.active().filter(pk__in=list(by_hold)).order_by("pk")
        locked = list(
            rows.locked(skip_locked=True)
        )  # before the next query: another process may just have begun one
        in_flight = CancelRequest.objects.in_flight().filter(batch__origin=Origin.HOLD)
        busy = set(in_flight.values_list("configured_exchange", flat=True))
        holds = [hold for hold in locked if hold.configured_exchange_id not in busy]
        newest = Episode.objects.filter(hold__in=holds).values("hold").annotate(newest=Max("id"))
        rows_of_newest = Episode.objects.filter(pk__in=newest.values("newest"))
        last_episodes = {
            episode.hold_id: episode for episode in rows_of_newest.select_related("request")
        }
        return [
            _begin_episode(record, hold, by_hold[hold.pk], last=last_episodes.get(hold.pk))
            for hold in holds
        ]


def begin_episode(hold_id: int, *, orders: int, symbols: Sequence[str] = ()) -> int | None:
    """Record a request for one exchange and return its id; None if it gets none."""
    ids = begin_episodes([Sighting(hold_id=hold_id, orders=orders, symbols=symbols)])
    return ids[0] if ids else None


def _begin_episode(
    record: Recording, hold: Hold, sighting: Sighting, *, last: Episode | None
) -> int:
    now, exchange, orders = vars(hold)["now"], hold.configured_exchange, sighting.orders
    # What was listed when the last episode ended is taken for what is listed now.
    is_continued = last is not None and last.request.status != Status.CONFIRMED
    left = last.orders_seen - last.orders_cancelled if last and is_continued else 0
    carried = min(left, orders)
    oldest_at = (last.oldest_open_at if last and carried else None) or now
    batch = Batch.objects.create(
        key=secrets.token_urlsafe(16),
        by_name=SYSTEM.name,
        by_role=SYSTEM.role,
        asked_at=datetime.now(UTC),
        reason=f"Hold by {hold.started_by}"[:500],
        origin=Origin.HOLD,
        not_included=[],
    )
    request = CancelRequest.objects.create(
        batch=batch,
        configured_exchange=exchange,
        exchange_id=hold.exchange_id,
        open_before=exchange.open_orders,
        open_before_seen_at=exchange.seen_at,
        revision=record.revision,
    )
    times = {"first_order_at": now, "last_order_at": now, "oldest_open_at": oldest_at}
    episode = Episode.objects.create(
        hold=hold,
        request=request,
        number=last.number + 1 if last else 1,
        began_blind=not orders,
        orders_seen=orders,
        orders_carried=carried,
        symbols=list(sighting.symbols[:MAX_SYMBOLS]),
        **(times if orders else {}),
    )
    hold.episode_count += 1
    _add_orders(hold, seen=orders - carried, gone=0, are_listed=orders > 0)
    hold.revision = record.revision
    hold.save()
    record.event(
        EventKind.REQUESTED,
        exchange_id=request.exchange_id,
        request_id=str(request.uuid),
        status=request.status,
        data={
            **event_data.of_press(request, batch),
            "held": str(hold.uuid),
            "episode": episode.number,
            "orders": orders,
            "carried": carried,
        },
    )
    return request.pk


def record_episode_read(
    request_id: int,
    lease_token: str,
    *,
    lives: OrderLives,
    latest: OpenOrdersAfter,
    next_attempt_at: datetime | None,
) -> bool:
    """Record a list that an episode has read, and what it says of the orders.

    Return whether the Hold is still active. Raises `LeaseLost`.
    """
    with recording() as record:
        episode, hold = _locked_episode(request_id)
        requests.record_read(request_id, lease_token, next_attempt_at=next_attempt_at)
        now = vars(hold)["now"]
        if latest.count is None:
            hold.read_error = latest.answer.error[:MAX_ERROR_CHARS]
        else:
            hold.last_read_at, hold.read_error = now, ""
            _write_lives(episode, hold, lives=lives, are_listed=latest.count > 0)
            episode.save()
        record.changed(hold)
        hold.save()
    return hold.is_active


def finish_episode(  # noqa: PLR0913 - whose episode, and what came of it
    request_id: int,
    lease_token: str,
    *,
    before: Status,
    conclusion: Conclusion,
    last_list: OpenOrdersAfter | None,
    pause_s: float,
) -> bool:
    """Record the end of an episode and of its request. Raises `LeaseLost`.

    `pause_s` is left of a pause that the EMS asked for: no episode begins before it is over.

    Of the episodes that follow one another without a good end, one raises an alarm; none does while
    an earlier one is unacknowledged.
    """
    with recording() as record:
        episode, hold = _locked_episode(request_id)
        confirmed = hold.episodes.filter(request__status=Status.CONFIRMED)
        last_good = confirmed.aggregate(last=Max("number"))["last"] or 0
        if not requests.finish(
            request_id,
            lease_token,
            before=before,
            conclusion=conclusion,
            last_list=last_list,
            is_alarm=hold.is_active,
            alarm_subject=unacknowledged_subject(AlarmKind.OUTCOME, hold)
            or f"{hold.uuid} from episode {last_good + 1}",
        ):
            return False
        end_of_pause = vars(hold)["now"] + timedelta(seconds=pause_s) if pause_s else None
        Hold.objects.filter(pk=hold.pk).update(paused_until=end_of_pause)
        record.changed(Hold.objects.filter(pk=hold.pk))
        record.event(
            EventKind.HOLD_EPISODE,
            exchange_id=hold.exchange_id,
            request_id=str(episode.request.uuid),
            data={"hold": str(hold.uuid), **data_of_episode(episode)},
        )
    return True


def data_of_episode(episode: Episode) -> dict[str, Any]:
    """Return the data of HOLD_EPISODE, as it is compared with the row."""
    return {
        "number": episode.number,
        "began_blind": episode.began_blind,
        "orders_seen": episode.orders_seen,
        "orders_carried": episode.orders_carried,
        "orders_cancelled": episode.orders_cancelled,
        "symbols": episode.symbols,
        "longest_life_ms": episode.longest_life_ms,
        "first_order_at": event_data.utc_text_or_none(episode.first_order_at),
        "last_order_at": event_data.utc_text_or_none(episode.last_order_at),
    }


def still_held(request_id: int) -> bool:
    """Return whether the Hold of an episode is active: a released one sends nothing more."""
    return Hold.objects.active().filter(episodes__request=request_id).exists()


def record_quiet(hold_id: int) -> None:
    """Record that orders no longer keep coming; later ones are a new run."""
    with recording() as record:
        hold = Hold.objects.active().locked().filter(pk=hold_id).first()
        if hold is None or hold.last_order_at is None:
            return
        if vars(hold)["now"] - hold.last_order_at >= timedelta(seconds=QUIET_S):
            hold.orders_since = None
            record.changed(hold)
            hold.save()


def _locked_episode(request_id: int) -> tuple[Episode, Hold]:
    """Lock the Hold of an episode, released or not, and return both."""
    hold = Hold.objects.locked().get(episodes__request=request_id)
    return Episode.objects.select_related("request").get(request=request_id), hold


def _write_lives(episode: Episode, hold: Hold, *, lives: OrderLives, are_listed: bool) -> None:
    _add_orders(
        hold,
        seen=lives.seen - episode.orders_seen,
        gone=lives.gone - episode.orders_cancelled,
        are_listed=are_listed,
    )
    episode.orders_seen, episode.orders_cancelled = lives.seen, lives.gone
    episode.symbols = lives.symbols
    episode.longest_life_ms = round(lives.longest_s * 1000)
    oldest_s = lives.oldest_s(now=time.monotonic())
    now = vars(hold)["now"]
    episode.oldest_open_at = None if oldest_s is None else now - timedelta(seconds=oldest_s)
    if are_listed:
        episode.last_order_at = hold.last_order_at
        episode.first_order_at = episode.first_order_at or hold.last_order_at


def _add_orders(hold: Hold, *, seen: int, gone: int, are_listed: bool) -> None:
    hold.orders_seen = min(hold.orders_seen + seen, MAX_COUNT)
    hold.orders_cancelled = min(hold.orders_cancelled + gone, MAX_COUNT)
    if not are_listed:
        return
    now = vars(hold)["now"]
    last = hold.last_order_at
    if last is None or hold.orders_since is None or now - last > timedelta(seconds=QUIET_S):
        hold.orders_since = now
    hold.last_order_at = now
