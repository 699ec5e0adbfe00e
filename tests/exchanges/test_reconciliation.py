"""An exchange that was changed outside the product is detected."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from killswitch.audit.actors import SYSTEM
from killswitch.audit.chain import Head, NewEvent
from killswitch.audit.models import EventKind
from killswitch.audit.verification.findings import Proof, no_progress
from killswitch.audit.verification.verify import verify, verify_newest
from killswitch.exchanges.models import WATCHED, Exchange
from killswitch.exchanges.reconciliation import REPLAYED_EXCHANGES
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from killswitch.exchanges.services import save_exchange
from tests.audit.assertions import assert_found, assert_good, only
from tests.audit.log import record

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _as_people_made_them(settings: Any, tmp_path: Any) -> None:
    """Two exchanges from the configuration, one of them changed, and one added by a person."""
    settings.KILLSWITCH_HOME = tmp_path
    add_missing(
        [
            ExchangeConfig(exchange_id="KRAKEN", name="Kraken", caveat="c"),
            ExchangeConfig(exchange_id="LMAX"),
        ]
    )
    change("KRAKEN", enabled=False, position=7)
    change("KRAKEN", name="Kraken Futures")
    save_exchange(Exchange(exchange_id="BITMEX", name="漢字"), by=SYSTEM, origin={"address": "::1"})
    assert_good(verify())


def change(old_id: str, /, **columns: Any) -> None:
    """Change an exchange as an administrator does."""
    exchange = Exchange.objects.get(exchange_id=old_id)
    for name, value in columns.items():
        setattr(exchange, name, value)
    save_exchange(exchange, by=SYSTEM, origin={})


def by_hand(**columns: Any) -> None:
    assert Exchange.objects.filter(exchange_id="KRAKEN").update(**columns) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("exchange_id", "KRAKEN/JOHN"),
        ("name", "Kraken"),
        ("enabled", True),
        ("position", 0),
        ("caveat", ""),
        ("contact", "Call nobody."),
        ("emergency_phone", "+1 900 555 0199"),
        ("member_ids", "ANOTHER"),
        ("session_ids", "ANOTHER"),
        ("what_they_ask", "Nothing."),
    ],
)
def test_a_column_changed_by_hand_is_detected(column: str, value: object) -> None:
    by_hand(**{column: value})
    for verdict in (verify(), verify_newest(Head())):
        assert only(verdict) is Proof.TABLES
        assert "exchange KRAKEN" in verdict.reason


def test_every_column_is_either_recorded_or_a_figure() -> None:
    figures = {"id", "revision", "open_orders", "seen_at", "first_listed_at", "orders_read_at"}
    assert {field.name for field in Exchange._meta.concrete_fields} == {*WATCHED, *figures}


def test_the_finding_names_the_event_that_contradicts_the_row() -> None:
    by_hand(name="Kraken")
    assert_found(verify(), Proof.TABLES, "name is 'Kraken', but event 5 records 'Kraken Futures'")


def test_a_row_deleted_or_inserted_by_hand_is_detected() -> None:
    lmax = Exchange.objects.get(exchange_id="LMAX")
    lmax.delete()
    assert_found(verify(), Proof.TABLES, "exchange LMAX was deleted")
    lmax.save(force_insert=True)
    assert_good(verify())
    Exchange.objects.create(exchange_id="DERIBIT")
    assert_found(verify(), Proof.TABLES, "exchange DERIBIT", "no event says that it was added")


def test_figures_are_not_compared() -> None:
    by_hand(open_orders=3, revision=99)
    assert_good(verify())


def test_a_column_that_its_event_does_not_carry_is_compared_only_if_it_was_empty_then() -> None:
    record(NewEvent(kind=EventKind.EXCHANGE_ADDED, exchange_id="OLD", data={"name": "Old"}))
    Exchange.objects.create(exchange_id="OLD", name="Old", caveat="of an older software")
    assert_good(verify())
    for column, value in (("name", "New"), ("emergency_phone", "+1 900 555 0199")):
        Exchange.objects.filter(exchange_id="OLD").update(**{column: value})
        assert_found(verify(), Proof.TABLES, "exchange OLD", column)
        Exchange.objects.filter(exchange_id="OLD").update(name="Old")
    change("OLD", emergency_phone="+44 20 7946 0000")
    assert_good(verify())


def test_an_id_that_was_changed_with_an_event_agrees() -> None:
    change("KRAKEN", exchange_id="KRAKEN/JOHN")
    assert_good(verify())
    assert Exchange.objects.filter(exchange_id="KRAKEN/JOHN").update(enabled=True)
    assert_found(verify(), Proof.TABLES, "KRAKEN/JOHN", "enabled")


def test_a_change_between_reading_events_and_rows_is_not_reported() -> None:
    changes: Iterator[Callable[[], None]] = iter([lambda: change("LMAX", enabled=False)])

    def rows() -> list[Mapping[str, Any]]:
        next(changes, lambda: None)()  # after the events were read, before the rows are
        return list(REPLAYED_EXCHANGES.rows())

    late = replace(REPLAYED_EXCHANGES, rows=rows)
    assert list(late.discrepancies(None, no_progress)) == []
    assert next(changes, None) is None, "it was changed meanwhile"
