"""Assertions about the result of a verification."""

from killswitch.audit.verification.explanations import proof_of
from killswitch.audit.verification.findings import Proof, VerificationResult
from killswitch.cancels.models import CancelRequest

Requests = dict[str, CancelRequest]


def assert_good(result: VerificationResult) -> None:
    assert result.findings == ()


def assert_broken(result: VerificationResult, seq: int | None, *words: str) -> None:
    """Assert that the chain is broken, from this event on."""
    assert result.first is not None
    assert result.first.proof is Proof.CHAIN, result
    assert_recognised(result)
    assert result.first_bad_seq == seq
    assert all(word in result.reason for word in words), result.reason


def assert_found(result: VerificationResult, proof: Proof, *words: str) -> None:
    """Assert that this proof fails, with all of these words in its reason."""
    reasons = [finding.reason for finding in result.findings if finding.proof is proof]
    assert reasons, result
    assert_recognised(result)
    assert all(word in reasons[0] for word in words), reasons


def only(result: VerificationResult) -> Proof:
    """Return the proof that fails, and assert that it is the only one."""
    assert len(result.findings) == 1, result
    assert_recognised(result)
    return result.findings[0].proof


def assert_recognised(result: VerificationResult) -> None:
    """Assert that the reason of each finding alone tells which proof failed."""
    for finding in result.findings:
        assert proof_of(finding.reason) is finding.proof, finding
