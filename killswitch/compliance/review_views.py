"""Reviews of events, as forms on several pages: each answer leads back to the page of the form."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.http import Http404, HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.audit import review
from killswitch.audit.models import EventKind
from killswitch.audit.review import ReviewInput
from killswitch.compliance.review_queue import ReviewQueue
from killswitch.compliance.verification_badge import Badge
from killswitch.runtime.http import parse_id, see_other
from killswitch.runtime.text import clean_line

# The pages on which a review can be made, and to which it leads back.
REVIEWING_PAGES = {"audit", "audit_event", "audit_review", "request"}
NOT_WRITTEN = "The audit log could not be written. Try again in a few seconds."


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a review was not recorded, and what its form contained."""

    mark: str
    reason: str
    seqs: Sequence[int]
    note: str


@requires(Permission.REVIEW)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reviews(request: HttpRequest) -> HttpResponseBase:
    """Show what is left to review (GET); review or query events, or close queries (POST)."""
    if request.method == "POST":
        return _record_review(request)
    queue = ReviewQueue.now()
    context = {"queue": queue, "badge": Badge.now(), "here": request.path}
    refusal = vars(request).get("review_refusal")
    if refusal and refusal.mark != EventKind.REVIEWED:
        context["refused_query"] = queue.queries.with_one_of(refusal.seqs)
    return render(request, "compliance/review.html", context)


def note_of(request: HttpRequest, name: str = "note") -> str:
    """Return the note of a form on one line."""
    # One character more than allowed, so that a note that is too long is refused and not cut.
    return clean_line(request.POST.get(name, ""), max_chars=review.MAX_NOTE_CHARS + 1)


def _record_review(request: HttpRequest) -> HttpResponseBase:
    url = _return_url(request.POST.get("back", ""))
    # A box stands for one event, or for all events of a cancel.
    numbers = (part for value in request.POST.getlist("event") for part in value.split())
    review_input = ReviewInput(
        mark=request.POST.get("mark", ""),
        seqs=sorted(set(filter(None, map(parse_id, numbers)))),
        note=note_of(request),
        by=current_user(request).actor,
        origin=client_info(request),
    )
    try:
        event = review.record_review(review_input)
    except review.ReviewRefused as error:
        reason, status = str(error), 409 if isinstance(error, review.ReviewConflict) else 400
    except review.ReviewNotRecorded:
        reason, status = NOT_WRITTEN, 503
    else:
        parts = urlsplit(url)
        query = QueryDict(parts.query, mutable=True)
        query["marked"] = str(event.seq)
        return see_other(f"{parts.path}?{query.urlencode()}")
    refusal = Refusal(
        mark=review_input.mark,
        reason=reason,
        seqs=review_input.seqs,
        note=request.POST.get("note", ""),
    )
    return _show_again(request, url, refusal=refusal, status=status)


def _show_again(
    request: HttpRequest, url: str, *, refusal: Refusal, status: int
) -> HttpResponseBase:
    """Answer with the page of the form, as it was filled in, and the reason of the refusal."""
    parts = urlsplit(url)
    match = resolve(parts.path)
    vars(request).update(
        method="GET",
        path=parts.path,
        path_info=parts.path,
        GET=QueryDict(parts.query),
        resolver_match=match,
        review_refusal=refusal,
    )
    try:
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
    except Http404:  # the page that the form named does not exist
        response = reviews(request)
    response.status_code = status
    return response


def _return_url(url: str) -> str:
    """Return the address if it is one of our pages with a review form, else the review page."""
    try:
        parts = urlsplit(url)
        has_form = resolve(parts.path).url_name in REVIEWING_PAGES
    except (ValueError, Resolver404):  # not every text is a URL
        return reverse("audit_review")
    is_ours = not (parts.scheme or parts.netloc)
    return url if is_ours and has_form else reverse("audit_review")
