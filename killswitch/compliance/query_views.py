"""Queries of compliance, for the person whom they ask."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.audit import query_answers, review
from killswitch.compliance.review_views import NOT_WRITTEN, note_of
from killswitch.runtime.http import parse_id, see_other

ANSWERING_PAGES = {"audit_queries", "request"}


@requires(Permission.SIGNED_IN)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def queries(request: HttpRequest) -> HttpResponse:
    """Show the queries that ask this user (GET), and record an answer (POST)."""
    user = current_user(request)
    context: dict[str, Any] = {"here": request.path}
    status = 200
    if request.method == "POST":
        seqs = sorted(set(filter(None, map(parse_id, request.POST.get("query", "").split()))))
        try:
            event = query_answers.record_answer(
                queries=seqs,
                text=note_of(request, "answer"),
                by=user.actor,
                username=user.username,
                origin=client_info(request),
            )
        except review.ReviewRefused as error:
            context["reason"] = str(error)
            status = 409 if isinstance(error, review.ReviewConflict) else 400
        except review.ReviewNotRecorded:
            context["reason"], status = NOT_WRITTEN, 503
        else:
            return see_other(f"{_return_path(request.POST.get('back', ''))}?answered={event.seq}")
        context["typed"] = request.POST.get("answer", "")
        # Its form is shown again with the answer; a query that was closed meanwhile has none.
        open_queries = query_answers.unanswered(user.username)
        context["refused"] = next(
            (query for query in open_queries if not set(seqs).isdisjoint(query.seqs)), None
        )
    return render(request, "compliance/queries.html", context, status=status)


def _return_path(path: str) -> str:
    """Return the path if it is one of our pages with this form, else that of the queries."""
    try:
        has_form = resolve(path).url_name in ANSWERING_PAGES
    except (ValueError, Resolver404):
        has_form = False
    return path if has_form else reverse("audit_queries")
