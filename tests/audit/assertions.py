"""What a verdict must say of a forged log."""

from killswitch.audit.verification.findings import Proof, VerificationResult
from killswitch.cancels.models import CancelRequest

Requests = dict[str, CancelRequest]


def assert_good(verdict: VerificationResult) -> None:
    assert verdict.findings == ()


def assert_broken(verdict: VerificationResult, seq: int | None, *words: str) -> None:
    """The chain itself does not hold, from that event on."""
    assert verdict.first is not None
    assert verdict.first.proof is Proof.CHAIN, verdict
    assert verdict.first_bad_seq == seq
    assert all(word in verdict.reason for word in words), verdict.reason


def assert_found(verdict: VerificationResult, fault: Proof, *words: str) -> None:
    """This proof fails, whatever the others say."""
    reasons = [finding.reason for finding in verdict.findings if finding.proof is fault]
    assert reasons, verdict
    assert all(word in reasons[0] for word in words), reasons


def only(verdict: VerificationResult) -> Proof:
    """The one proof that fails."""
    assert len(verdict.findings) == 1, verdict
    return verdict.findings[0].proof
