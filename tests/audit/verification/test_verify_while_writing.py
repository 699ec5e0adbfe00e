"""Verification during writes: a genuine log never fails."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from killswitch.audit import checkpoints
from killswitch.audit.chain import Head
from killswitch.audit.models import AuditEvent
from killswitch.audit.verification import chain_walk
from killswitch.audit.verification.verify import verify, verify_newest
from killswitch.cancels.models import CancelRequest
from tests.audit import event_factories
from tests.conftest import wait_for

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]
WRITERS = 3


@pytest.fixture
def writers(settings: Any, tmp_path: Path, unpublished: None) -> Iterator[list[threading.Thread]]:
    """Kills that go on while the test verifies."""
    settings.KILLSWITCH_HOME = tmp_path
    stop = threading.Event()
    exchanges = event_factories.add_exchanges(*(f"X{number}" for number in range(WRITERS)))
    running = [
        threading.Thread(target=event_factories.kill_for_ever, args=[stop, exchange])
        for exchange in exchanges
    ]
    for thread in running:
        thread.start()
    yield running
    stop.set()
    for thread in running:
        thread.join(30)


@pytest.mark.usefixtures("small_batches")
def test_verifying_during_writes_finds_no_problem(writers: list[threading.Thread]) -> None:
    wait_for(lambda: AuditEvent.objects.count() > 20, seconds=20)
    head = Head()
    for _ in range(6):
        checkpoints.write("ROUND")
        whole = verify()
        assert whole.findings == ()
        newest = verify_newest(head)
        assert newest.findings == ()
        head = Head(seq=newest.head_seq, hash=newest.head_hash)
    assert all(thread.is_alive() for thread in writers), "the writers must not stop early"


def test_a_changed_row_is_found_during_writes(writers: list[threading.Thread]) -> None:
    finished = CancelRequest.objects.exclude(finished_at=None)
    wait_for(finished.exists, seconds=20)
    assert finished.filter(pk=finished[0].pk).update(conclusion="all is well") == 1
    assert "all is well" in verify().reason


def test_verifying_holds_no_transaction_and_no_lock(writers: list[threading.Thread]) -> None:
    """Writers continue while it pauses between two pages."""
    wait_for(lambda: AuditEvent.objects.count() > 20, seconds=20)
    grown: list[bool] = []

    def pause(_what: str, _done: int, _of: int) -> None:
        assert not connection.in_atomic_block
        if len(grown) < 5:
            before = AuditEvent.objects.count()
            wait_for(lambda: AuditEvent.objects.count() > before, seconds=10)
            grown.append(True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_walk, "PAGE_SIZE", 5)
        assert verify(progress=pause).ok
    assert len(grown) == 5
