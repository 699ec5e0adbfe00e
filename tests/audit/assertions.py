"""What a verdict must say of a forged log."""

from killswitch.audit.verification.findings import Fault, Verdict
from killswitch.cancels.models import CancelRequest

Requests = dict[str, CancelRequest]


def assert_good(verdict: Verdict) -> None:
    assert verdict.findings == ()


def assert_broken(verdict: Verdict, seq: int | None, *words: str) -> None:
    """The chain itself does not hold, from that event on."""
    assert verdict.first is not None
    assert verdict.first.fault is Fault.CHAIN, verdict
    assert verdict.first_bad_seq == seq
    assert all(word in verdict.reason for word in words), verdict.reason


def assert_found(verdict: Verdict, fault: Fault, *words: str) -> None:
    """This proof fails, whatever the others say."""
    reasons = [finding.reason for finding in verdict.findings if finding.fault is fault]
    assert reasons, verdict
    assert all(word in reasons[0] for word in words), reasons


def only(verdict: Verdict) -> Fault:
    """The one proof that fails."""
    assert len(verdict.findings) == 1, verdict
    return verdict.findings[0].fault
