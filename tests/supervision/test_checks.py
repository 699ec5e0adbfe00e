"""The system checks refuse what cannot work, and warn of what is probably a mistake."""

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder

from killswitch.accounts.models import Role, User
from killswitch.exchanges.models import Exchange
from killswitch.supervision import checks, lifecycle_events, prepare, startup_banner
from killswitch.supervision.checks import CannotStart, raise_first_error
from tests import factories
from tests.failures import failing

UNKNOWN_MIGRATION = "0099_of_next_year"
DATABASES = ["default"]


def demo_user() -> User:
    return factories.person(Role.RISK_OFFICER, is_demo=True)


def set_demo(settings: Any) -> None:
    settings.DEMO, settings.KILLSWITCH_ENVIRONMENT, settings.EMS_API_KEY = True, "demo", ""


def history_ids() -> list[str | None]:
    return [message.id for message in checks.check_history(databases=DATABASES)]


# --- the EMS and the alarms -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMS_BASE_URL", "http://"),
        ("EMS_BASE_URL", "https://ems.example.com?key=hunter22"),
        ("EMS_BASE_URL", "https://somebody:hunter22@ems.example.com"),
        ("EMS_BASE_URL", "https://ems.example.com https://hunter22.example.com"),
        ("EMS_BASE_URL", "https://ems.example.com/hunter22 /v1"),
        ("EMS_BASE_URL", "https://*.example.com"),
        ("EMS_BASE_URL", "https://ems.example.com:0"),
        ("EMS_BASE_URL", "https://-ems..example.com"),
        ("EMS_API_KEY", "hunter22 hunter22"),
        ("EMS_CLIENT_CERT", "/nowhere/client.pem"),
        ("EMS_CLIENT_CERT", __file__),
        ("EMS_CA_BUNDLE", "/nowhere/authority.pem"),
        ("EMS_CA_BUNDLE", __file__),
    ],
)
def test_settings_that_no_ems_client_can_use_are_refused(
    settings: Any, name: str, value: str
) -> None:
    setattr(settings, name, value)
    with pytest.raises(CannotStart, match=rf"^{name}") as refusal:
        checks.require(checks.CONFIGURATION)
    assert "hunter22" not in str(refusal.value)


def test_an_ems_that_does_not_answer_does_not_prevent_the_start(settings: Any) -> None:
    settings.EMS_BASE_URL = "http://127.0.0.1:9"
    checks.require(checks.CONFIGURATION)


# One of the library's many plugins imports this module.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["ALERT_URLS", "ARCHIVE_URLS"])
@pytest.mark.parametrize("url", ["hunter22", "nosuchservice://hunter22"])
def test_an_alert_url_that_cannot_be_used_is_refused_by_its_number(
    settings: Any, name: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    setattr(settings, name, ("json://127.0.0.1/", url))
    with pytest.raises(CannotStart, match=rf"^{name}: .* URL number 2\b") as refusal:
        checks.require(checks.CONFIGURATION)
    assert "hunter22" not in str(refusal.value)
    # A browser test before this one may have left a request that it never answered.
    assert [record.name for record in caplog.records if record.name != "asyncio"] == []


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_alert_urls_that_can_be_used_are_accepted(settings: Any) -> None:
    settings.ALERT_URLS = ("json://127.0.0.1/", "mailto://somebody:secret@example.com")
    settings.ARCHIVE_URLS = ("mailto://auditor:secret@example.com",)
    assert list(checks.check_alert_urls()) == []


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_checkpoints_that_leave_no_host_are_a_warning(settings: Any) -> None:
    settings.ALERT_URLS, settings.ARCHIVE_URLS = ("json://127.0.0.1/",), ()
    [warning] = checks.check_alert_urls()
    assert warning.msg.startswith("ARCHIVE_URLS is not set, so no checkpoint")


# --- KILLSWITCH_EXCHANGES ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "mistake",
    ['"KRAKEN', "BINANCE'", "KRAKEN,", ";BINANCE", "KRAKEN,,BINANCE", "KRAKEN/JOHN;", ","],
)
def test_text_that_cannot_be_an_exchange_id_is_refused_with_a_hint(
    settings: Any, mistake: str
) -> None:
    settings.KILLSWITCH_EXCHANGES = ("OKEX", mistake)
    with pytest.raises(CannotStart, match=r"^KILLSWITCH_EXCHANGES: .*separate them with spaces"):
        checks.require(checks.CONFIGURATION)


@pytest.mark.parametrize("ambiguous", ["KRAKEN,BINANCE", "KRAKEN;BINANCE;OKEX", "FTX,B2C2"])
def test_an_id_that_may_be_a_list_is_accepted_with_a_warning(settings: Any, ambiguous: str) -> None:
    settings.KILLSWITCH_EXCHANGES = ("OKEX", ambiguous)
    (message,) = checks.check_exchange_ids()
    raise_first_error([message])
    assert message.msg.startswith(f"KILLSWITCH_EXCHANGES: {ambiguous} is read as one exchange ID")
    assert "separate them with spaces" in message.msg


@pytest.mark.parametrize("plain", ["KRAKEN", "KRAKEN/JOHN", "KRAKEN,john", "KRAKEN,A1", "okx:a;b"])
def test_an_id_with_an_account_tag_is_accepted_without_a_warning(settings: Any, plain: str) -> None:
    settings.KILLSWITCH_EXCHANGES = (plain,)
    assert list(checks.check_exchange_ids()) == []


@pytest.mark.django_db(transaction=True)
def test_preparing_refuses_an_invalid_id_before_it_adds_any(settings: Any) -> None:
    settings.KILLSWITCH_EXCHANGES = ("KRAKEN", '"BINANCE"')
    with pytest.raises(CannotStart, match="KILLSWITCH_EXCHANGES"):
        prepare.prepare()
    assert not Exchange.objects.exists()


# --- warnings ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_ordinary_configuration_has_no_warnings(settings: Any) -> None:
    assert checks.warnings() == []
    set_demo(settings)
    assert checks.warnings() == []


@pytest.mark.django_db(transaction=True)
def test_a_warning_is_logged_once_and_printed_at_the_start(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.KILLSWITCH_EXCHANGES = ("KRAKEN,BINANCE",)
    prepare.prepare()
    assert caplog.text.count("KRAKEN,BINANCE is read as one exchange ID") == 1
    assert "KRAKEN,BINANCE is read as one exchange ID" in startup_banner.text([])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KILLSWITCH_ENVIRONMENT", "production"),
        ("EMS_API_KEY", "hunter22"),
        ("EMS_CLIENT_CERT", "/etc/killswitch/client.pem"),
        ("EMS_CA_BUNDLE", "/etc/killswitch/authority.pem"),
    ],
)
def test_settings_of_a_real_ems_without_its_url_are_a_warning(
    settings: Any, name: str, value: str
) -> None:
    set_demo(settings)
    setattr(settings, name, value)
    warning = f"{name} is set, but EMS_BASE_URL is not: only simulated orders are cancelled."
    assert checks.warnings() == [warning]
    assert warning in startup_banner.text([])


@pytest.mark.django_db(transaction=True)
def test_a_real_ems_on_the_database_of_a_demo_is_a_warning() -> None:
    demo_user()
    (warning,) = checks.warnings()
    assert "its simulated exchanges are enabled" in warning
    assert warning in startup_banner.text([])


@pytest.mark.django_db(transaction=True)
def test_a_short_secret_key_is_a_warning_that_does_not_repeat_it(settings: Any) -> None:
    settings.DATABASE_URL, settings.SECRET_KEY = "postgresql://127.0.0.1/log", "hunter22" * 3
    (warning,) = checks.warnings()
    assert warning.startswith("SECRET_KEY is shorter than 32 characters")
    assert "hunter22" not in warning
    settings.SECRET_KEY = "hunter22" * 4
    assert checks.warnings() == []


# --- the database -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_database_of_the_demo_is_recognised_by_its_starts(settings: Any) -> None:
    assert history_ids() == []
    settings.DEMO = True
    lifecycle_events.record_start(["web"])
    assert history_ids() == [], "it still is the demo"
    settings.DEMO = False
    assert history_ids() == ["killswitch.W004"]
    checks.require(checks.DATABASE)


@pytest.mark.django_db(transaction=True)
def test_a_database_of_the_demo_is_recognised_by_its_users() -> None:
    demo_user()
    assert history_ids() == ["killswitch.W004"]


@pytest.mark.django_db(transaction=True)
def test_the_demo_does_not_add_its_exchanges_to_a_real_log(settings: Any) -> None:
    lifecycle_events.record_start(["web"])
    checks.require(checks.DATABASE)
    settings.DEMO = True
    with pytest.raises(CannotStart, match=r"^EMS_BASE_URL is not set, .* was used with a real EMS"):
        prepare.prepare()
    assert not Exchange.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_demo_refuses_a_real_database_that_was_never_started(settings: Any) -> None:
    """`prepare` and `cancel_all` need no `up`, and a watchdog takes over their requests."""
    settings.DEMO = True
    prepare.prepare()
    checks.require(checks.DATABASE)
    User.objects.all().delete()
    with pytest.raises(CannotStart, match="was used with a real EMS"):
        prepare.prepare()


@pytest.mark.django_db(transaction=True)
def test_the_demo_marks_a_database_as_its_own_before_it_adds_exchanges(settings: Any) -> None:
    settings.DEMO = True
    with (
        failing("killswitch.supervision.prepare.add_missing", DatabaseError("ended here")),
        pytest.raises(CannotStart, match="ended here"),
    ):
        prepare.prepare()
    settings.DEMO = False
    assert history_ids() == ["killswitch.W004"]


@pytest.mark.django_db(transaction=True)
def test_a_database_without_tables_has_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    demo_user()
    monkeypatch.setattr(connection.introspection, "table_names", list)
    assert history_ids() == []


@pytest.fixture
def apply_migration() -> Iterator[Callable[..., None]]:
    """Record a migration as applied until the test ends: emptying the tables leaves these rows."""

    def record(*, app: str) -> None:
        MigrationRecorder.Migration.objects.create(app=app, name=UNKNOWN_MIGRATION)

    yield record
    MigrationRecorder.Migration.objects.filter(name=UNKNOWN_MIGRATION).delete()


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("check", [lambda: checks.require(checks.DATABASE), prepare.prepare])
def test_a_database_of_a_newer_version_is_refused(
    check: Callable[[], object], apply_migration: Callable[..., None]
) -> None:
    check()
    apply_migration(app="cancels")
    with pytest.raises(CannotStart, match=r"newer version \(cancels 0099_of_next_year\)"):
        check()


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_an_unknown_migration_of_another_program_is_ignored(
    apply_migration: Callable[..., None],
) -> None:
    apply_migration(app="elsewhere")
    checks.require(checks.DATABASE)


# --- manage.py check --------------------------------------------------------------------------


def run_check(**options: Any) -> str:
    output = StringIO()
    call_command("check", stdout=output, stderr=output, **options)
    return output.getvalue()


def test_manage_check_names_an_invalid_exchange_id(settings: Any) -> None:
    settings.KILLSWITCH_EXCHANGES = ('"KRAKEN"',)
    with pytest.raises(CommandError, match=r"killswitch\.E002"):
        run_check()


def test_manage_check_deploy_checks_the_ems(settings: Any) -> None:
    settings.EMS_CLIENT_CERT = "/nowhere/client.pem"
    run_check()
    with pytest.raises(CommandError, match=r"killswitch\.E003.*EMS_CLIENT_CERT"):
        run_check(deploy=True)


@pytest.mark.django_db(transaction=True)
def test_manage_check_database_checks_its_history() -> None:
    demo_user()
    assert "killswitch.W004" not in run_check()
    assert "killswitch.W004" in run_check(databases=DATABASES)
