"""What needs a person now, gathered from all rows: failed cancels, those running, new orders."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from killswitch.cancels.confirmation import MAX_EXCHANGES
from killswitch.cancels.status_display import status_badge
from killswitch.console.grid import Row, Trouble
from killswitch.exchanges.models import ExchangeGroup
from killswitch.runtime.cached_markup import rendered
from killswitch.runtime.compiled_query import CompiledQuery
from killswitch.runtime.http import MAX_ID, addresses
from killswitch.runtime.templatetags.text import escape_controls, thousands

MAX_SHOWN = 60
# What the block holds on a wide screen; static/css/console.css makes its lines so high and wide.
MAX_LINES = 16
MAX_CHARS_OF_HALF_A_LINE = 12

# What the items of exchanges with equal marks do not have in common.
OWN = ("pk", "exchange_id", "label", "address", "request_uuid", "orders", "mark.words")


class Mark(NamedTuple):
    """An icon, its tone, and what it means."""

    icon: str
    tone: str
    words: str


class AttentionItem(NamedTuple):
    """One exchange in the block: what is wrong, and where to read more."""

    pk: str
    exchange_id: str
    label: str
    address: str
    request_uuid: str  # "" without a request
    status: str
    mark: Mark
    orders: str
    is_long: bool  # its ID takes a whole line where two of them share one

    @property
    def markup(self) -> SafeString:
        return rendered("console/_attention_item.html", self, own=OWN)


class _Addresses:
    def __init__(self) -> None:
        self.of_request = addresses("request", sample=UUID(int=0))
        self.of_exchange = addresses("exchange", sample=MAX_ID)


def _item(row: Row, to: _Addresses) -> AttentionItem:
    exchange, request, mark = row.exchange, row.last, _mark(row)
    return AttentionItem(
        pk=str(exchange.pk),
        exchange_id=escape_controls(exchange.exchange_id),
        label=escape_controls(exchange.label),
        address=to.of_request(request.uuid) if request else to.of_exchange(exchange.pk),
        request_uuid=str(request.uuid) if request else "",
        status=request.status if request else "",
        mark=mark._replace(words=escape_controls(mark.words)),
        orders="?" if row.known_orders is None else thousands(row.known_orders),
        is_long=len(exchange.exchange_id) > MAX_CHARS_OF_HALF_A_LINE,
    )


class Attention:
    """The block beside the rows. Failures are in the order in which they came.

    One that comes is the last, so that none moves under the pointer.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        failed = sorted((row for row in rows if row.is_failed), key=_came_at)
        running = [row for row in rows if row.trouble is Trouble.RUNNING]
        to = _Addresses()
        self.failed = [_item(row, to) for row in failed[:MAX_SHOWN]]
        self.running = [_item(row, to) for row in running[:MAX_SHOWN]]
        self.failed_count = len(failed)
        self.running_count = len(running)
        self.new_orders_count = sum(row.trouble is Trouble.NEW_ORDERS for row in rows)
        self.hidden_count = len(failed) - len(self.failed)
        to_retry = [row for row in failed if row.exchange.enabled][:MAX_EXCHANGES]
        self.retry = [row.exchange for row in to_retry]
        # A retry repeats one cancel; failures of several are cancelled again without that.
        self._batches = {row.last.batch.uuid if row.last else None for row in to_retry}

    @property
    def needs_scrolling(self) -> bool:
        """Whether some failures are out of sight on a wide screen, which the block then says."""
        long = sum(item.is_long for item in self.failed)
        return long + (len(self.failed) - long + 1) // 2 > MAX_LINES

    @property
    def retry_path(self) -> str:
        """The address of the confirmation of a cancel on every exchange that failed."""
        query: dict[str, list[int] | str] = {"exchange": [row.pk for row in self.retry]}
        if len(self._batches) == 1 and (batch := next(iter(self._batches))):
            query["retry_of"] = str(batch)
        return f"{reverse('cancel_all')}?{urlencode(query, doseq=True)}"


class GroupSummary:
    """A group of exchanges with its open orders, for its button."""

    def __init__(self, group: ExchangeGroup, *, members: Sequence[Row]) -> None:
        self.group = group
        self.members = [row for row in members if row.exchange.enabled]
        counts = [row.known_orders for row in self.members]
        self.open_orders = sum(count or 0 for count in counts)
        self.is_partial = None in counts


def groups(rows: Sequence[Row]) -> list[GroupSummary]:
    """Return the groups with an exchange that can be cancelled, in two queries."""
    groups = list(_groups.objects())
    pks: dict[int, set[int]] = {group.pk: set() for group in groups}
    for group_pk, exchange_pk in _members.rows() if groups else ():
        pks.setdefault(group_pk, set()).add(exchange_pk)
    summaries = [
        GroupSummary(group, members=[row for row in rows if row.exchange.pk in pks[group.pk]])
        for group in groups
    ]
    return [summary for summary in summaries if summary.members]


_groups = CompiledQuery(lambda: ExchangeGroup.objects.only("name"))
_members = CompiledQuery(
    lambda: ExchangeGroup.exchanges.through.objects.values_list("exchangegroup", "exchange")
)


def _came_at(row: Row) -> int:
    if row.last is None:
        return 0
    return row.last.finished_revision or row.last.revision


def _mark(row: Row) -> Mark:
    if row.is_stuck:
        return Mark("left", "bad", "Stuck: no progress")
    if row.last and (row.last.needs_attention or not row.last.is_final):
        badge = status_badge(row.last)
        return Mark(badge.icon, badge.tone, badge.words)
    if row.is_blind:
        return Mark("left", "bad", "Hold blind: open orders cannot be read")
    return Mark("clock", "busy", "An earlier cancel is running")
