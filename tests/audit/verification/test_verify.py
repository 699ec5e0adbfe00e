"""A true log verifies, and what came since it was last verified is verified alone."""

from datetime import timedelta
from pathlib import Path

import pytest

from killswitch.audit import chain, checkpoints
from killswitch.audit.chain import Head, NewEvent
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify, verify_newest
from killswitch.cancels.models import CancelRequest
from tests.audit import forging
from tests.audit.assertions import Requests, assert_broken, assert_found
from tests.audit.forging import TABLE, forge, recompute_from
from tests.audit.log import record

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db,
    pytest.mark.usefixtures("own_home"),
]


def test_a_log_that_nobody_touched_verifies(requests: Requests) -> None:
    result = verify()
    head = chain.head()
    assert (result.head_seq, result.head_hash) == (head.seq, head.hash)
    assert result.events == head.seq == AuditEvent.objects.count()
    assert result.ok
    assert result.first_bad_seq is None


def test_an_empty_log_verifies() -> None:
    result = verify()
    assert result.ok
    assert result.head_seq == 0
    assert "there is no checkpoints.jsonl" in result.warnings[0]


def test_a_clock_that_was_put_back_is_a_warning(requests: Requests) -> None:
    early = AuditEvent.objects.get(seq=4).at - timedelta(days=1)
    with forging.guards_off():
        AuditEvent.objects.filter(seq=4).update(at=early)
    recompute_from(4)
    Path(checkpoints.default_path()).unlink()
    checkpoints.write("ROUND")
    result = verify()
    assert result.ok
    assert any("event 4" in warning for warning in result.warnings)


def test_the_newest_events_are_verified_from_a_known_head_on(requests: Requests) -> None:
    known = chain.head()
    record(NewEvent(kind=EventKind.SIGNED_IN), NewEvent(kind=EventKind.SIGNED_OUT))
    result = verify_newest(known)
    assert result.ok
    assert result.events == 2
    assert result.head_seq == known.seq + 2


def test_from_nothing_the_newest_events_are_all(requests: Requests) -> None:
    assert verify_newest(Head()).events == AuditEvent.objects.count()


def test_an_edit_among_the_newest_events_is_found(requests: Requests) -> None:
    known = chain.head()
    record(NewEvent(kind=EventKind.SIGNED_IN), NewEvent(kind=EventKind.SIGNED_OUT))
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = %s", [known.seq + 1])
    assert_broken(verify_newest(known), known.seq + 1, "changed")


def test_a_known_head_that_is_gone_or_another_is_found(requests: Requests) -> None:
    known = chain.head()
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = %s", [known.seq])
    recompute_from(known.seq)
    assert_broken(verify_newest(known), known.seq, "replaced")
    forge(f"DELETE FROM {TABLE} WHERE seq = %s", [known.seq])
    assert_broken(verify_newest(known), known.seq, "gone")


def test_a_request_of_the_newest_events_is_compared(requests: Requests) -> None:
    known = Head(seq=2, hash=forging.row(2)["hash"])
    CancelRequest.objects.filter(pk=requests["residual"].pk).update(conclusion="all is well")
    assert_found(verify_newest(known), Proof.TABLES, "conclusion", "all is well")


@pytest.mark.usefixtures("small_batches")
def test_progress_is_told(requests: Requests) -> None:
    told: list[tuple[str, int, int]] = []
    verify(progress=lambda *what: told.append(what))
    events = chain.head().seq
    assert told[:2] == [("events", 2, events), ("events", 4, events)]
    assert ("requests", 4, 4) in told
