"""What the page of the alarms shows: the unacknowledged ones by their cause, and the history."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Self

from django import forms
from django.db.models import Exists, OuterRef, Q
from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.runtime.http import parse_id
from killswitch.runtime.text import pluralize_count

MAX_OPEN = 200
PAGE_SIZE = 50
MAX_FILTER_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class OpenAlarm:
    """An alarm that needs a person, and where its cancel can be sent again; "" if it cannot."""

    alarm: Alarm
    exchange_pk: int | None = None
    has_later_cancel: bool = False  # on its exchange, which decides now
    batch: Batch | None = None

    @property
    def retry_url(self) -> str:
        return retry_url([self])


@dataclass(frozen=True, kw_only=True)
class AlarmGroup:
    """The alarms of one cancel, or of one exchange, or of one subject; the worst first."""

    name: str
    alarms: Sequence[OpenAlarm]
    batch: Batch | None

    @property
    def id(self) -> int:
        """Return a number that stays the same while alarms are added."""
        return min(row.alarm.pk for row in self.alarms)

    @property
    def alarm_ids(self) -> str:
        return " ".join(str(row.alarm.pk) for row in self.alarms)

    @property
    def retry_count(self) -> int:
        return len({row.exchange_pk for row in self.alarms if row.exchange_pk})

    @property
    def retry_url(self) -> str:
        return retry_url(self.alarms)


@dataclass(frozen=True, kw_only=True)
class OpenAlarms:
    """The unacknowledged alarms by their cause, the most urgent cause first."""

    groups: Sequence[AlarmGroup]
    count: int
    hidden: int

    @classmethod
    def now(cls) -> Self:
        """Read them in four queries at most."""
        unacknowledged = Alarm.objects.unacknowledged()
        alarms = list(unacknowledged.worst_first()[:MAX_OPEN])
        count = unacknowledged.count() if len(alarms) == MAX_OPEN else len(alarms)
        batch_ids = {alarm.batch_id for alarm in alarms if alarm.batch_id}
        batches = {str(batch.uuid): batch for batch in Batch.objects.filter(uuid__in=batch_ids)}
        request_ids = {alarm.request_id for alarm in alarms if alarm.request_id}
        later = CancelRequest.objects.filter(
            configured_exchange=OuterRef("configured_exchange"), pk__gt=OuterRef("pk")
        )
        requests = CancelRequest.objects.filter(uuid__in=request_ids).values_list(
            "uuid", "configured_exchange_id", "configured_exchange__enabled", Exists(later)
        )
        superseded = {str(uuid) for uuid, _, _, has_later in requests if has_later}
        exchange_pks = {
            str(uuid): pk for uuid, pk, enabled, has_later in requests if enabled and not has_later
        }
        by_cause: dict[tuple[str, str], list[OpenAlarm]] = defaultdict(list)
        for alarm in alarms:
            row = OpenAlarm(
                alarm=alarm,
                exchange_pk=exchange_pks.get(alarm.request_id),
                has_later_cancel=alarm.request_id in superseded,
                batch=batches.get(alarm.batch_id),
            )
            by_cause[_cause(alarm)].append(row)
        return cls(
            groups=[
                AlarmGroup(name=_group_name(rows), alarms=_by_exchange(rows), batch=rows[0].batch)
                for rows in by_cause.values()
            ],
            count=count,
            hidden=max(0, count - len(alarms)),
        )


def retry_url(rows: Sequence[OpenAlarm]) -> str:
    """Return the confirmation of a cancel on the exchanges of these alarms, "" without any."""
    pks = dict.fromkeys(row.exchange_pk for row in rows if row.exchange_pk)
    if not pks:
        return ""
    query = [("exchange", str(pk)) for pk in pks]
    batch = rows[0].batch
    if batch and batch.origin != Origin.HOLD:
        query.append(("retry_of", str(batch.uuid)))
    return f"{reverse('cancel_all')}?{urlencode(query)}"


def _cause(alarm: Alarm) -> tuple[str, str]:
    """Return under what an alarm is listed."""
    if alarm.batch_id:
        return "batch", alarm.batch_id
    if alarm.exchange_id:
        return "exchange", alarm.exchange_id
    return "kind", alarm.kind


def _by_exchange(rows: Sequence[OpenAlarm]) -> list[OpenAlarm]:
    """Put the alarms of one exchange together, in the order of the worst of each."""
    by_exchange: dict[str, list[OpenAlarm]] = defaultdict(list)
    for row in rows:
        by_exchange[row.alarm.exchange_id].append(row)
    return [row for same_exchange in by_exchange.values() for row in same_exchange]


def _group_name(rows: Sequence[OpenAlarm]) -> str:
    alarm, batch = rows[0].alarm, rows[0].batch
    if batch and batch.origin == Origin.HOLD:
        return f"Hold on {alarm.exchange_id}"
    if batch:
        is_one = alarm.batch_size == 1
        on = alarm.exchange_id if is_one else pluralize_count(alarm.batch_size, "exchange")
        return f"Cancel all on {on}"
    if alarm.exchange_id:
        return alarm.exchange_id
    names: dict[str, str] = {
        AlarmKind.EVIDENCE: "Audit log",
        AlarmKind.RESTORED: "Audit log",
        AlarmKind.HOLD_REMINDER: "Holds",
        AlarmKind.READINESS: "Readiness",
    }
    return names.get(alarm.kind, "Accounts and configuration")


class HistoryForm(forms.Form):
    """The filter of the history."""

    kind = forms.ChoiceField(
        choices=[("", "All types"), *AlarmKind.choices], required=False, label="Alarm type"
    )
    exchange = forms.CharField(max_length=MAX_FILTER_CHARS, required=False, label="Exchange")
    since = forms.DateField(
        required=False, label="From (UTC)", widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        required=False, label="To (UTC, inclusive)", widget=forms.DateInput(attrs={"type": "date"})
    )
    text = forms.CharField(max_length=MAX_FILTER_CHARS, required=False, label="Search text")

    def clean(self) -> None:
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and since > until:
            self.add_error("until", "To must not be before From.")

    def condition(self) -> Q:
        """Return what the form selects, once it is valid."""
        values = self.cleaned_data
        condition = Q()
        if values["kind"]:
            condition &= Q(kind=values["kind"])
        if values["exchange"]:
            condition &= Q(exchange_id__icontains=values["exchange"])
        if values["since"]:
            condition &= Q(raised_at__gte=datetime.combine(values["since"], time.min, tzinfo=UTC))
        if values["until"]:
            condition &= Q(raised_at__lte=datetime.combine(values["until"], time.max, tzinfo=UTC))
        if text := values["text"]:
            columns = ("title", "detail", "note", "acknowledged_by", "resolution")
            in_text = Q()
            for column in columns:
                in_text |= Q(**{f"{column}__icontains": text})
            condition &= in_text
        return condition


@dataclass(frozen=True, kw_only=True)
class AlarmHistory:
    """A page of the alarms that were acknowledged or have resolved themselves, newest first."""

    form: HistoryForm
    alarms: Sequence[Alarm]
    older_url: str
    is_filtered: bool
    is_first: bool

    @classmethod
    def of(cls, query: QueryDict) -> Self:
        """Read the page that a query string names; none of it if its filter is invalid."""
        form = HistoryForm(query)
        rows = Alarm.objects.closed().order_by("-id")
        before = parse_id(query.get("before", ""))
        alarms: list[Alarm] = []
        if form.is_valid():
            rows = rows.filter(form.condition())
            alarms = list(rows.filter(pk__lt=before) if before else rows)[: PAGE_SIZE + 1]
        older_url = ""
        if len(alarms) > PAGE_SIZE:
            older = query.copy()
            older["before"] = str(alarms[PAGE_SIZE - 1].pk)
            older_url = f"?{older.urlencode()}#history"
        return cls(
            form=form,
            alarms=alarms[:PAGE_SIZE],
            older_url=older_url,
            is_filtered=any(query.get(name) for name in form.fields),
            is_first=before is None,
        )
