"""The exchanges: the list, what the EMS lists besides, adding, changing, disabling, enabling."""

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib import messages
from django.db import IntegrityError
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user
from killswitch.administration import exchange_ids
from killswitch.administration.exchange_ids import IdCheck
from killswitch.administration.forms import CommentForm, ExchangeForm, ExchangeIdForm
from killswitch.administration.guards import administration
from killswitch.audit.recorder import recording
from killswitch.ems.exchange_ids import InvalidExchangeId, check_exchange_id
from killswitch.exchanges.models import Exchange, ExchangeGroup, Observation, UncoveredExchange
from killswitch.exchanges.services import NO_CANCEL, save_exchange, what_goes_on
from killswitch.runtime.age import age
from killswitch.runtime.templatetags.text import time_short

MAX_OFFERED = 100


@dataclass(frozen=True, kw_only=True)
class OfferedId:
    """An ID with open orders at the EMS that cannot be cancelled from here.

    `disabled` is the exchange with this ID, if it only has to be enabled; `problem` is why the ID
    cannot be set up.
    """

    exchange_id: str
    open_orders: int
    disabled: Exchange | None = None
    problem: str = ""

    @property
    def query(self) -> str:
        return urlencode({"exchange_id": self.exchange_id})


@administration
def start(request: HttpRequest, old_page: str = "") -> HttpResponse:  # noqa: ARG001
    """Lead to the page that administrators start on."""
    return redirect("administration_exchanges")


@administration
def exchanges(request: HttpRequest) -> HttpResponse:
    """Show all exchanges, and what the EMS lists besides."""
    groups = Prefetch("groups", queryset=ExchangeGroup.objects.order_by("position", "name"))
    observation = Observation.objects.first()
    context = {
        "exchanges": Exchange.objects.prefetch_related(groups),
        "offered": _offered_ids(),
        "observation": observation,
        "now": datetime.now(UTC),
    }
    return render(request, "administration/exchanges.html", context)


def _offered_ids() -> list[OfferedId]:
    rows = UncoveredExchange.objects.order_by("-open_orders", "exchange_id")[:MAX_OFFERED]
    by_id = Exchange.objects.in_bulk([row.exchange_id for row in rows], field_name="exchange_id")
    offered = []
    for row in rows:
        exchange, problem = by_id.get(row.exchange_id), ""
        if exchange is not None and exchange.enabled:
            continue  # it was set up after the observer's last read
        try:
            check_exchange_id(row.exchange_id)
        except InvalidExchangeId:
            problem = "It contains spaces or invisible characters, or is too long."
        offered.append(
            OfferedId(
                exchange_id=row.exchange_id,
                open_orders=row.open_orders,
                disabled=exchange,
                problem=problem,
            )
        )
    return offered


@administration
def add(request: HttpRequest) -> HttpResponse:
    """Add an exchange, once its ID has been compared with what the EMS lists."""
    prefilled = {"exchange_id": request.GET.get("exchange_id", "")[:200].replace("\0", "")}
    form = ExchangeIdForm(request.POST or None, initial=prefilled if not request.POST else None)
    if request.method == "POST" and form.is_valid():
        exchange = form.save(commit=False)
        try:
            save_exchange(exchange, by=current_user(request).actor, origin=client_info(request))
        except IntegrityError:  # another administrator has just added it
            form.add_error("exchange_id", form.fields["exchange_id"].error_messages["unique"])
        else:
            _report_added(request, exchange, id_check=form.id_check)
            return redirect("administration_exchanges")
    context = {"form": form, "title": "Add an exchange", "button": "Add exchange"}
    return render(request, "administration/exchange.html", context)


def _report_added(request: HttpRequest, exchange: Exchange, *, id_check: IdCheck | None) -> None:
    added = f"{exchange.exchange_id} was added"
    if id_check and not id_check.listed:
        messages.warning(
            request,
            f"{added}, but the EMS has never listed it. Until it lists an order there, check the"
            " ID: a cancel on a misspelled ID has no effect.",
        )
    else:
        messages.success(request, f"{added}. Its orders can be cancelled from now on.")


@administration
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change how an exchange is described; its ID only before it was ever used."""
    try:
        with recording() if request.method == "POST" else nullcontext():
            exchange = _find(pk, lock=request.method == "POST")
            why_fixed = exchange_ids.why_fixed(exchange)
            form_class = ExchangeForm if why_fixed else ExchangeIdForm
            form = form_class(request.POST if request.method == "POST" else None, instance=exchange)
            typed_id = request.POST.get("exchange_id", exchange.exchange_id)
            if why_fixed and typed_id != exchange.exchange_id:
                message = f"The ID can no longer be changed. {why_fixed} Nothing was saved."
                form.add_error(None, message)
            if form.is_valid():
                changed = form.save(commit=False)
                save_exchange(changed, by=current_user(request).actor, origin=client_info(request))
                messages.success(request, f"{changed.exchange_id} was saved.")
                return redirect("administration_exchanges")
    except IntegrityError:  # another administrator has just used the ID
        form.add_error("exchange_id", form.fields["exchange_id"].error_messages["unique"])
    context = {
        "form": form,
        "title": Exchange.objects.get(pk=pk).exchange_id,
        "button": "Save",
        "exchange": exchange,
        "why_fixed": why_fixed,
    }
    return render(request, "administration/exchange.html", context)


@administration
def disable(request: HttpRequest, pk: int) -> HttpResponse:
    """Disable an exchange, after a question that says what this means."""
    exchange = _find(pk)
    text = [
        f"It has {_orders(exchange)}. It will no longer be on the console,"
        " and “Cancel ALL” will not include it.",
        what_goes_on(exchange) or NO_CANCEL,
        "A cancel that is already running continues. An alarm is raised.",
    ]
    return _switch(request, exchange, enabled=False, text=text)


@administration
def enable(request: HttpRequest, pk: int) -> HttpResponse:
    """Enable an exchange, after a question."""
    exchange = _find(pk)
    text = ["It returns to the console, and “Cancel ALL” includes it from now on."]
    if exchange.first_listed_at is None and exchange.exchange_id not in exchange_ids.listed_ids():
        text.append("The EMS has never listed this ID. Check how it is spelled.")
    return _switch(request, exchange, enabled=True, text=text)


def _switch(
    request: HttpRequest, exchange: Exchange, *, enabled: bool, text: list[str]
) -> HttpResponse:
    verb = "Enable" if enabled else "Disable"
    form = CommentForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        with recording():
            row = _find(exchange.pk, lock=True)
            row.enabled = enabled
            save_exchange(
                row,
                by=current_user(request).actor,
                origin=client_info(request),
                comment=form.cleaned_data["comment"],
            )
        messages.success(request, f"{row.exchange_id} is {verb.lower()}d.")
        return redirect("administration_exchanges")
    context = {
        "title": f"{verb} {exchange.exchange_id}?",
        "text": text,
        "form": form,
        "button": f"{verb} {exchange.exchange_id}",
        "back": "administration_exchanges",
        "tab": "exchanges",
    }
    return render(request, "administration/question.html", context)


def _orders(exchange: Exchange) -> str:
    """Return the open orders of an exchange in words, never a number that proves nothing."""
    if exchange.open_orders is None or exchange.seen_at is None:
        return "an unknown number of open orders"
    if exchange.first_listed_at is None:
        return "no open orders that the EMS has ever listed"
    noun = "open order" if exchange.open_orders == 1 else "open orders"
    seen_ago = age(at=exchange.seen_at, now=datetime.now(UTC)).phrase("", never="").strip()
    return f"{exchange.open_orders:,} {noun}, as of {time_short(exchange.seen_at)} UTC ({seen_ago})"


def _find(pk: int, *, lock: bool = False) -> Exchange:
    """Return an exchange, locked until the commit so that the recorded old values are true."""
    rows = Exchange.objects.select_for_update() if lock else Exchange.objects.all()
    exchange = rows.filter(pk=pk).first()
    if exchange is None:
        raise Http404("There is no such exchange.")
    return exchange
