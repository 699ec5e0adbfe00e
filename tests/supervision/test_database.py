"""A database says itself when this version, or this EMS, must not go on with it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from killswitch.accounts.models import Role, User
from killswitch.exchanges.models import Exchange
from killswitch.supervision import database, lifetime, preparation
from killswitch.supervision.refusal import CannotStart

pytestmark = pytest.mark.django_db(transaction=True)


def demo_person() -> User:
    return User.objects.create_user(
        username="olga", role=Role.RISK_OFFICER, password="for-this-test", is_demo=True
    )


def test_what_the_demo_has_prepared_is_refused_with_a_real_ems() -> None:
    demo_person()
    with pytest.raises(CannotStart, match="set KILLSWITCH_HOME to a new directory") as refused:
        database.check_history()
    assert database.name() in str(refused.value)


def test_what_the_demo_was_started_on_is_refused_with_a_real_ems(settings: Any) -> None:
    settings.DEMO = True
    lifetime.record_start(["web"])
    database.check_history()
    settings.DEMO = False
    with pytest.raises(CannotStart, match="is the demo's"):
        database.check_history()


def test_the_demo_does_not_add_its_exchanges_to_a_real_log(settings: Any) -> None:
    lifetime.record_start(["web"])
    database.check_history()
    settings.DEMO = True
    with pytest.raises(CannotStart, match=r"^EMS_BASE_URL is not set, .* belongs to a real EMS"):
        database.check_history()


def test_a_database_without_tables_is_anybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    demo_person()
    monkeypatch.setattr(connection.introspection, "table_names", list)
    database.check_history()


def test_a_refused_database_is_left_as_it_is() -> None:
    demo_person()
    before = Exchange.objects.count()
    with pytest.raises(CannotStart, match="is the demo's"):
        preparation.prepare()
    assert Exchange.objects.count() == before


@pytest.fixture
def applied() -> Iterator[Callable[..., None]]:
    """Notes a migration as applied, until the test ends: emptying the tables leaves these."""

    def note(**named: str) -> None:
        MigrationRecorder.Migration.objects.create(**named)

    yield note
    MigrationRecorder.Migration.objects.filter(name="0099_of_next_year").delete()


@pytest.mark.both_databases
@pytest.mark.parametrize("check", [database.check_not_newer, preparation.prepare])
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
    database.check_not_newer()
