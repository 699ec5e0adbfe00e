"""Exchanges are added at start, and existing ones are never changed by it."""

from functools import partial
from itertools import chain
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from killswitch.audit.models import AuditEvent, EventKind
from killswitch.ems.exchange_ids import InvalidExchangeId, check_exchange_id
from killswitch.exchanges.models import Exchange
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from tests.threads import run_at_once

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def added_events() -> list[str]:
    events = AuditEvent.objects.filter(kind=EventKind.EXCHANGE_ADDED).order_by("seq")
    return list(events.values_list("exchange_id", flat=True))


def test_a_missing_exchange_is_added_enabled_and_recorded() -> None:
    entry = ExchangeConfig(
        exchange_id="KRAKEN/JOHN", name="John's Kraken", caveat="Not the staking."
    )
    assert add_missing([entry]) == ("KRAKEN/JOHN",)
    exchange = Exchange.objects.get()
    assert (exchange.exchange_id, exchange.name) == ("KRAKEN/JOHN", "John's Kraken")
    assert exchange.caveat == "Not the staking."
    assert exchange.enabled
    assert exchange.revision > 0
    assert added_events() == ["KRAKEN/JOHN"]


def test_a_disabled_exchange_stays_as_it_is() -> None:
    Exchange.objects.create(exchange_id="KRAKEN", name="Ours", enabled=False, position=3)
    assert add_missing([ExchangeConfig(exchange_id="KRAKEN", name="Other", caveat="New")]) == ()
    exchange = Exchange.objects.get()
    assert (exchange.name, exchange.caveat) == ("Ours", "")
    assert (exchange.enabled, exchange.position, exchange.revision) == (False, 3, 0)
    assert added_events() == []


def test_a_second_start_adds_and_records_nothing() -> None:
    entries = [ExchangeConfig(exchange_id="BINANCE"), ExchangeConfig(exchange_id="KRAKEN")]
    add_missing(entries)
    assert add_missing(entries) == ()
    assert added_events() == ["BINANCE", "KRAKEN"]


def test_an_id_that_is_given_twice_is_added_once() -> None:
    assert add_missing([ExchangeConfig(exchange_id="A"), ExchangeConfig(exchange_id="A")]) == ("A",)


@pytest.mark.parametrize(
    "wrong", ["", " ", "KRA KEN", "KRAKEN\n", "A\x00", "A\u202eB", "A\u200bB", "\ud800", "X" * 201]
)
def test_one_impossible_id_refuses_them_all(wrong: str) -> None:
    with pytest.raises(InvalidExchangeId):
        add_missing([ExchangeConfig(exchange_id="BINANCE"), ExchangeConfig(exchange_id=wrong)])
    assert not Exchange.objects.exists()


def test_tags_with_every_documented_separator_are_possible() -> None:
    for separator in "~/.,:;\\!@#$%^&*-_+=":
        check_exchange_id(f"KRAKEN{separator}JOHN")


def test_hosts_that_start_at_once_add_each_exchange_once() -> None:
    ids = [f"EXCHANGE-{number}" for number in range(10)]
    orders = [ids, ids[::-1], ids[5:] + ids[:5], ids]
    configs = [[ExchangeConfig(exchange_id=name) for name in order] for order in orders]
    added_ids = run_at_once(*(partial(add_missing, rows) for rows in configs))
    assert sorted(chain.from_iterable(added_ids)) == ids
    assert sorted(added_events()) == ids


def test_a_start_that_another_has_overtaken_adds_and_records_nothing() -> None:
    reads = []

    def add_after_the_first_read(execute: Any, sql: str, *arguments: Any) -> Any:
        result = execute(sql, *arguments)
        if sql.startswith("SELECT"):
            reads.append(sql)
            if len(reads) == 1:
                Exchange.objects.create(exchange_id="KRAKEN", name="first")
        return result

    with connection.execute_wrapper(add_after_the_first_read):
        assert add_missing([ExchangeConfig(exchange_id="KRAKEN", name="second")]) == ()
    assert Exchange.objects.get().name == "first"
    assert added_events() == []


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=210))
def test_any_id_is_stored_as_it_is_or_refused(exchange_id: str) -> None:
    Exchange.objects.all().delete()
    try:
        added_ids = add_missing(
            [ExchangeConfig(exchange_id=exchange_id, name=exchange_id, caveat=exchange_id)]
        )
    except InvalidExchangeId:
        assert not Exchange.objects.exists()
    else:
        assert added_ids == (exchange_id,) == tuple(e.exchange_id for e in Exchange.objects.all())
