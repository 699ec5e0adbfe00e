"""The log as compliance reads it: newest first, page by page, nothing to change."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from killswitch.accounts.permissions import Permission, requires
from killswitch.audit.models import AuditEvent

PAGE = 50  # events
LARGEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event, and its data laid out for reading."""

    event: AuditEvent

    @property
    def data(self) -> str:
        """The canonical text as it is stored, when it cannot be laid out."""
        try:
            laid_out = json.dumps(json.loads(self.event.data), indent=2, ensure_ascii=False)
        except ValueError:
            return self.event.data
        # Halves of surrogate pairs are valid escapes in JSON, but not text that can be sent.
        return laid_out.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some events, newest first, and where the next page begins."""

    entries: Sequence[Entry]
    older: int | None

    @classmethod
    def before(cls, seq: int | None) -> Self:
        events = AuditEvent.objects.order_by("-seq")
        if seq is not None:
            events = events.filter(seq__lt=seq)
        found = list(events[: PAGE + 1])
        shown = found[:PAGE]
        older = shown[-1].seq if len(found) > PAGE else None
        return cls(entries=[Entry(event=event) for event in shown], older=older)


@requires(Permission.AUDIT)
@never_cache
@require_safe
def log(request: HttpRequest) -> HttpResponse:
    """One page of the log."""
    page = Page.before(_number(request.GET.get("before", "")))
    return render(request, "audit/log.html", {"page": page})


def _number(text: str) -> int | None:
    usable = text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST
    return int(text) if usable else None
