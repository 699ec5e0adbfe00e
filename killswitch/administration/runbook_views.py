"""The runbook: one text that people read when a cancel fails."""

from contextlib import nullcontext

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user
from killswitch.administration.forms import RunbookForm
from killswitch.administration.guards import administration
from killswitch.audit.recorder import recording
from killswitch.exchanges.runbook import runbook_text, save_runbook


@administration
def runbook(request: HttpRequest) -> HttpResponse:
    """Show the runbook, and replace its text."""
    with recording() if request.method == "POST" else nullcontext():
        text = runbook_text(lock=request.method == "POST")
        form = RunbookForm(
            request.POST if request.method == "POST" else None, initial={"text": text}
        )
        if form.is_valid():
            new_text = form.cleaned_data["text"]
            save_runbook(new_text, by=current_user(request).actor, origin=client_info(request))
            messages.success(request, "The runbook was saved.")
            return redirect("administration_runbook")
    context = {"form": form, "text": text}
    return render(request, "administration/runbook.html", context)
