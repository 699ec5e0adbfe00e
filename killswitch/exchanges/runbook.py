"""The runbook: what people do and who they call when a cancel fails."""

import re
from collections.abc import Mapping

from django.db import Error

from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import current_recording, recording
from killswitch.exchanges.models import Runbook
from killswitch.runtime.compiled_query import CompiledQuery

MAX_TEXT_CHARS = 5000
RUNBOOK_ID = 1


class _Newest:
    """The text that this process has read last, for pages shown while the database is gone."""

    text = ""


def clean_text(text: str) -> str:
    """Return the text with line feeds only, without white space at the ends of its lines."""
    lines = re.split(r"\r\n|\r|\n", text)
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def runbook_text(*, lock: bool = False) -> str:
    """Return the runbook, locked until the commit so that it is not replaced meanwhile.

    Without a lock, the text last read by this process if the database cannot be read. With one, it
    must be called in a recording.
    """
    try:
        text = _locked_text() if lock else (_text.first() or [""])[0]
    except Error:
        if lock:
            raise
        return _Newest.text
    _Newest.text = text
    return text


def _locked_text() -> str:
    rows = Runbook.objects.select_for_update(no_key=True).filter(pk=RUNBOOK_ID)
    texts = rows.values_list("text", flat=True)
    text = texts.first()
    if text is None:
        # There is no row to lock yet: the revision's lock makes the first texts wait as well.
        current_recording().take_revision()
        text = texts.first()
    return text or ""


_text = CompiledQuery(lambda: Runbook.objects.filter(pk=RUNBOOK_ID).values_list("text"))


def last_read_text() -> str:
    """Return the runbook as this process has read it last, without asking the database."""
    return _Newest.text


def save_runbook(text: str, *, by: Actor, origin: Mapping[str, str]) -> None:
    """Replace the runbook, with an event that holds the text before and after."""
    with recording() as record:
        row = Runbook.objects.select_for_update(no_key=True).filter(pk=RUNBOOK_ID).first()
        before = row.text if row else ""
        if text == before:
            return
        row = row or Runbook(pk=RUNBOOK_ID)
        row.text = text
        row.save()
        record.changed(row)
        record.event(
            EventKind.RUNBOOK_CHANGED,
            actor=by,
            data={"changes": {"text": [before, text]}, **origin},
        )
