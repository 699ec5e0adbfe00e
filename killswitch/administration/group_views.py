"""The groups of exchanges: the list, adding, changing, removing."""

from contextlib import nullcontext

from django.contrib import messages
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user
from killswitch.administration.forms import GroupForm
from killswitch.administration.guards import administration
from killswitch.audit.recorder import recording
from killswitch.exchanges.groups import remove_group, save_group
from killswitch.exchanges.models import NAME_TAKEN, ExchangeGroup


@administration
def groups(request: HttpRequest) -> HttpResponse:
    """Show all groups with their exchanges."""
    context = {"groups": ExchangeGroup.objects.prefetch_related("exchanges")}
    return render(request, "administration/groups.html", context)


@administration
def add(request: HttpRequest) -> HttpResponse:
    """Add a group."""
    return _form(request, ExchangeGroup(), title="Add a group", button="Add group")


@administration
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Rename a group, or choose other exchanges."""
    group = _find(pk)
    return _form(request, group, title=group.name, button="Save")


def _form(request: HttpRequest, group: ExchangeGroup, *, title: str, button: str) -> HttpResponse:
    """Show the form of a group, and save it while it is locked: its old values are then true."""
    try:
        with recording() if request.method == "POST" else nullcontext():
            if request.method == "POST" and group.pk:
                group = _find(group.pk, lock=True)
            form = GroupForm(request.POST if request.method == "POST" else None, instance=group)
            if form.is_valid():
                save_group(
                    form.save(commit=False),
                    exchanges=form.cleaned_data["exchanges"],
                    by=current_user(request).actor,
                    origin=client_info(request),
                )
                messages.success(request, f"The group {form.instance.name} was saved.")
                return redirect("administration_groups")
    except IntegrityError:  # another administrator has just used the name
        form.add_error("name", NAME_TAKEN)
    context = {"form": form, "title": title, "button": button, "group": group}
    return render(request, "administration/group.html", context)


@administration
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a group, after a question."""
    group = _find(pk)
    if request.method == "POST":
        remove_group(group.pk, by=current_user(request).actor, origin=client_info(request))
        messages.success(request, f"The group {group.name} was removed.")
        return redirect("administration_groups")
    ids = ", ".join(group.exchanges.values_list("exchange_id", flat=True)) or "none"
    context = {
        "title": f"Remove the group {group.name}?",
        "text": [
            f"Its cancel button disappears from the console. Its exchanges stay: {ids}.",
            "A cancel that is already running continues.",
        ],
        "button": "Remove group",
        "back": "administration_groups",
        "tab": "groups",
    }
    return render(request, "administration/question.html", context)


def _find(pk: int, *, lock: bool = False) -> ExchangeGroup:
    rows = ExchangeGroup.objects.select_for_update() if lock else ExchangeGroup.objects.all()
    group = rows.filter(pk=pk).first()
    if group is None:
        raise Http404("There is no such group.")
    return group
