"""The only way into the log: one transaction for rows, their revision and their events.

    with recording() as record:
        request = …                      # rows
        record.changed(request)          # gets the new revision
        record.event(EventKind.FINISHED, …)   # chained at the end

Every recording takes its locks in the same order, so that no two of them can deadlock:

1. rows that other transactions may lock as well, among themselves in the order of their keys;
2. the revision, once: by `Recording.revision`, or at the end for the rows given to `changed`;
3. the chain, at the end, and then the commit.

While it holds the revision, a transaction makes every other writer of visible rows wait, and while
it holds the chain, every writer of events. It may then still insert rows, and write rows that it
has locked already or locks with `skip_locked`; it must not wait for any other lock. New rows of one
key are inserted on the same side of the revision by all their writers.

Checked here: the chain comes last, and the revision is never taken after it. A recording that is
over, or belongs to another thread, records no more. Neither does one inside a savepoint, which
could be rolled back without its events. Not checked: which rows are locked after the revision.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from killswitch.audit import appending
from killswitch.audit.actors import SYSTEM, Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.runtime.kept_connections import release_connection
from killswitch.runtime.revisions import Revisioned, next_revision


class Recording:
    """The record of one transaction. Valid until the block of its `recording` ends."""

    def __init__(self) -> None:
        self._savepoints = _open_savepoints()
        self._revision: int | None = None
        self._changed: list[Revisioned | QuerySet[Revisioned]] = []
        self._new_events: list[NewEvent] = []
        self._events: list[AuditEvent] = []

    @property
    def revision(self) -> int:
        """Return the revision of this transaction, the same at every use; the first use takes it.

        For rows that are written with it in the same statement. Lock every other row before.
        """
        self._check_is_open()
        if self._revision is None:
            if self._events:
                raise RuntimeError("the revision must be taken before the chain is locked")
            self._revision = next_revision()
        return self._revision

    @property
    def events(self) -> Sequence[AuditEvent]:
        """Return the events of this recording as they are in the log, with `seq` and `hash`.

        Raises `RuntimeError` while some of them are not written yet, or when they never were.
        """
        if self._new_events:
            raise RuntimeError("these events are not written: the recording is open, or has failed")
        return tuple(self._events)

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was recorded so far that a page shows, and no event."""
        return self._revision is None and not (self._changed or self._new_events or self._events)

    def take_revision(self) -> None:
        """Raise the revision for what pages show from rows that have none of their own."""
        _ = self.revision

    def changed(self, *rows: Revisioned | QuerySet[Revisioned]) -> None:
        """Give rows the revision at the end, in one more UPDATE for each row or queryset.

        They must be locked by this transaction, and a queryset must find them still at the end.
        """
        self._check_is_open()
        self._changed.extend(rows)

    def event(  # noqa: PLR0913 - each is one column
        self,
        kind: EventKind,
        *,
        actor: Actor = SYSTEM,
        exchange_id: str = "",
        request_id: str = "",
        status: str = "",
        reject_reason: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Record one event. Events are chained in the order in which they are recorded."""
        self.add(
            NewEvent(
                kind=kind,
                actor=actor,
                exchange_id=exchange_id,
                request_id=request_id,
                status=status,
                reject_reason=reject_reason,
                data=data or {},
            )
        )

    def add(self, *events: NewEvent) -> None:
        """Record events that a helper has made."""
        self._check_is_open()
        self._new_events.extend(events)

    def write_events(self) -> Sequence[AuditEvent]:
        """Write what was recorded so far and return the new events; called when the block ends.

        Call it earlier for rows that hold the number of their event, and to distinguish an event
        that was not written from a commit that failed.
        """
        self._check_is_open()
        connection.validate_no_broken_transaction()
        for rows in self._changed:
            if isinstance(rows, QuerySet):
                rows.update(revision=self.revision)
            else:
                rows.revision = self.revision
                rows.save(update_fields=["revision"])
        self._changed.clear()
        events = appending.append(*self._new_events) if self._new_events else []
        self._new_events.clear()
        self._events.extend(events)
        return events

    def _check_is_open(self) -> None:
        if _this_thread.recording is not self:
            raise RuntimeError("this recording is over, or belongs to another thread")
        if _open_savepoints() != self._savepoints:
            raise RuntimeError("a savepoint may be rolled back without the events recorded in it")


@contextmanager
def recording(*, then_release_connection: bool = False) -> Iterator[Recording]:
    """Open the transaction of a change and of its events, or join the one that is open.

    An exception rolls all of it back and writes no event. A recording inside another one is part
    of it: its events are chained at the end of the outer one, and its exception rolls the outer
    one back as well, even if the outer one catches it. Inside a plain `transaction.atomic()` the
    events are chained at the end of the recording.

    With `then_release_connection` this thread holds no connection during the wait that follows,
    also after an error. Such a recording raises `RuntimeError` inside another transaction.
    """
    if _this_thread.recording is not None:
        with transaction.atomic(savepoint=False, durable=then_release_connection):
            yield current_recording()
        return
    try:
        with transaction.atomic(durable=then_release_connection):
            record = _this_thread.recording = Recording()
            try:
                yield record
                record.write_events()
            finally:
                _this_thread.recording = None
    finally:
        if then_release_connection:
            release_connection()


def current_recording() -> Recording:
    """Return the open recording of this thread. Raises `RuntimeError` where there is none.

    For a function that records in the transaction of its caller, and never in one of its own.
    """
    record = _this_thread.recording
    if record is None:
        raise RuntimeError("this is recorded in the transaction of its cause: open a recording")
    record._check_is_open()
    return record


class _ThisThread(threading.local):
    """The open recording of a thread, which has one connection and so one transaction."""

    recording: Recording | None = None


_this_thread = _ThisThread()


def _open_savepoints() -> list[str]:
    return [savepoint for savepoint in connection.savepoint_ids if savepoint]
