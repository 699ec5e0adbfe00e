"""A database says itself when this version, or this EMS, must not go on with it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder

from killswitch.accounts.models import Role, User
from killswitch.exchanges.models import Exchange
from killswitch.supervision import database_checks, lifecycle_events, prepare
from killswitch.supervision.errors import CannotStart

pytestmark = pytest.mark.django_db(transaction=True)


def demo_person() -> User:
    return User.objects.create_user(
        username="olga", role=Role.RISK_OFFICER, password="for-this-test", is_demo=True
    )


def test_a_database_of_the_demo_is_known_by_its_people_and_its_starts(settings: Any) -> None:
    assert not database_checks.was_the_demos()
    settings.DEMO = True
    lifecycle_events.record_start(["web"])
    assert not database_checks.was_the_demos(), "it still is"
    settings.DEMO = False
    assert database_checks.was_the_demos()
    database_checks.check_history()


def test_what_the_demo_has_prepared_is_the_demos() -> None:
    demo_person()
    assert database_checks.was_the_demos()


def test_the_demo_does_not_add_its_exchanges_to_a_real_log(settings: Any) -> None:
    lifecycle_events.record_start(["web"])
    database_checks.check_history()
    settings.DEMO = True
    with pytest.raises(CannotStart, match=r"^EMS_BASE_URL is not set, .* belongs to a real EMS"):
        database_checks.check_history()


def test_the_demo_does_not_carry_out_what_was_asked_of_a_real_ems_before_its_first_start(
    settings: Any,
) -> None:
    """`prepare` and `cancel_all` need no `up`, and a watchdog takes over what they leave."""
    settings.DEMO = True
    prepare.prepare()
    database_checks.check_history()
    User.objects.all().delete()
    with pytest.raises(CannotStart, match="belongs to a real EMS"):
        prepare.prepare()


def test_the_demo_says_whose_a_database_is_before_it_adds_its_exchanges(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_entries: object) -> None:
        raise DatabaseError("ended here")

    settings.DEMO = True
    monkeypatch.setattr(prepare, "add_missing", fail)
    with pytest.raises(CannotStart, match="ended here"):
        prepare.prepare()
    settings.DEMO = False
    assert database_checks.was_the_demos()


def test_a_database_without_tables_is_anybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    demo_person()
    monkeypatch.setattr(connection.introspection, "table_names", list)
    assert not database_checks.was_the_demos()


def test_a_refused_database_is_left_as_it_is(settings: Any) -> None:
    lifecycle_events.record_start(["web"])
    settings.DEMO = True
    with pytest.raises(CannotStart, match="belongs to a real EMS"):
        prepare.prepare()
    assert not Exchange.objects.exists()


@pytest.fixture
def applied() -> Iterator[Callable[..., None]]:
    """Notes a migration as applied, until the test ends: emptying the tables leaves these."""

    def note(**named: str) -> None:
        MigrationRecorder.Migration.objects.create(**named)

    yield note
    MigrationRecorder.Migration.objects.filter(name="0099_of_next_year").delete()


@pytest.mark.both_databases
@pytest.mark.parametrize("check", [database_checks.check_not_newer, prepare.prepare])
def test_what_a_newer_version_has_changed_is_refused(
    check: Callable[[], object], applied: Callable[..., None]
) -> None:
    check()
    applied(app="cancels", name="0099_of_next_year")
    with pytest.raises(CannotStart, match=r"newer version \(cancels 0099_of_next_year\)"):
        check()


@pytest.mark.both_databases
def test_what_another_program_has_changed_is_none_of_our_business(
    applied: Callable[..., None],
) -> None:
    applied(app="elsewhere", name="0099_of_next_year")
    database_checks.check_not_newer()
