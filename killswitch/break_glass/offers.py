"""Offers break glass where a cancel could not be recorded. Reads no database."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import Resolver404, resolve

from killswitch.accounts.officer_cookie import KnownOfficer, known_officer
from killswitch.break_glass import question
from killswitch.break_glass.question import Question
from killswitch.cancels.confirmation import REASONS, Reason
from killswitch.runtime.http import parse_id


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A question that a known officer may answer, with a fresh one-use key."""

    question: Question
    key: str
    officer: KnownOfficer
    reason: Reason

    reasons = REASONS


def make(request: HttpRequest, asked: Question, officer: KnownOfficer) -> Offer:
    """Return an offer, filled with what the request carries."""
    data = request.POST if request.method == "POST" else request.GET
    return Offer(
        question=asked,
        key=asked.key(user_id=officer.user_id),
        officer=officer,
        reason=Reason.from_form(data).carried(),
    )


def of_failed_page(request: HttpRequest) -> Offer | None:
    """Return what to offer in place of the page that failed; None to all but known officers."""
    officer = known_officer(request)
    return make(request, question_of_failed_page(request), officer) if officer else None


def question_of_failed_page(request: HttpRequest) -> Question:
    """Return the exchanges of a page about some of them, and all that are known for any other."""
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return question.of_everything()
    if match.url_name in ("cancel_one", "exchange", "hold"):
        return question.of_numbers([match.kwargs["pk"]])
    if match.url_name == "cancel_all" and (group := request.GET.get("group")):
        return question.of_numbers([], group=parse_id(group))
    if match.url_name == "cancel_all" and (numbers := request.GET.getlist("exchange")):
        return question.of_numbers([pk for pk in map(parse_id, numbers) if pk is not None])
    return question.of_everything()
