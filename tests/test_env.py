"""A variable of the environment is either usable, or refused by its name."""

import os
import pwd
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

import killswitch
from killswitch import env, queue_url, several_hosts
from tests.failures import failing
from tests.supervision.system_process import NOT_INHERITED

BOUNDS = {
    "EMS_CONNECT_TIMEOUT": (0.05, 60),
    "EMS_TIMEOUT": (0.05, 300),
    "CANCEL_DEADLINE": (0.05, 3600),
    "OBSERVE_INTERVAL": (0.05, 300),
    "HOLD_INTERVAL": (0.05, 5),
    "SESSION_HOURS": (0.0005, 744),
}


@pytest.fixture
def set_variables(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets variables of the environment."""

    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return change


@pytest.fixture
def settings_with(
    monkeypatch: pytest.MonkeyPatch, set_variables: Callable[..., None], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Return a function that returns the settings of a process with these variables."""
    for name in [name for name in os.environ if NOT_INHERITED.match(name)]:
        monkeypatch.delenv(name)

    def load(**variables: str) -> dict[str, Any]:
        set_variables(KILLSWITCH_HOME=str(tmp_path), **variables)
        return runpy.run_path(str(Path(killswitch.__file__).parent / "settings.py"))

    return load


@pytest.mark.parametrize(
    "value",
    [
        "ems.example.com",
        "ftp://ems.example.com",
        "http://[::1",
        "http://127.0.0.1:port",
        "http://user:hunter22@127.0.0.1:99999",
    ],
)
def test_an_invalid_url_is_refused_without_repeating_it(
    set_variables: Callable[..., None], value: str
) -> None:
    set_variables(EMS_BASE_URL=value)
    with pytest.raises(ImproperlyConfigured, match=r"^EMS_BASE_URL must be a URL") as refusal:
        env.url("EMS_BASE_URL", schemes=("http", "https"))
    assert "hunter22" not in str(refusal.value)


def test_the_refusal_of_a_number_names_its_unit(set_variables: Callable[..., None]) -> None:
    set_variables(SESSION_HOURS="twelve")
    with pytest.raises(
        ImproperlyConfigured, match="SESSION_HOURS='twelve': give a number of hours"
    ):
        env.seconds("SESSION_HOURS", 12, unit="hours", lowest=0.05, highest=744)


def test_without_any_variable_it_is_the_demo(
    settings_with: Callable[..., dict[str, Any]],
) -> None:
    values = settings_with()
    assert (values["DEMO"], values["KILLSWITCH_ENVIRONMENT"]) == (True, "demo")


def test_a_secret_is_created_once_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    secret = env.kept_secret(path)
    assert len(secret) >= 50
    assert env.kept_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_on_a_full_disk_leaves_no_file_behind(tmp_path: Path) -> None:
    message = r"^KILLSWITCH_HOME: .*secret_key cannot be .*No space left"
    with failing("os.fsync"), pytest.raises(ImproperlyConfigured, match=message):
        env.kept_secret(tmp_path / "secret_key")
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_another_process_has_just_created_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret_key"
    link = os.link

    def too_late(source: Path, target: Path) -> None:
        path.write_text("created a moment before")
        link(source, target)

    monkeypatch.setattr(os, "link", too_late)
    assert env.kept_secret(path) == "created a moment before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe"])
def test_a_file_without_a_secret_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret_key").write_bytes(content)
    with pytest.raises(ImproperlyConfigured, match=r"^KILLSWITCH_HOME: .*secret_key"):
        env.kept_secret(tmp_path / "secret_key")


def test_a_secret_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret_key").mkdir()
    with pytest.raises(ImproperlyConfigured, match=r"^KILLSWITCH_HOME: .*Is a directory"):
        env.kept_secret(tmp_path / "secret_key")


def test_a_data_directory_that_is_a_file_is_named(
    tmp_path: Path, set_variables: Callable[..., None]
) -> None:
    set_variables(KILLSWITCH_HOME=str(tmp_path / "file"))
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured, match=r"^KILLSWITCH_HOME: .* cannot be created"):
        env.home("KILLSWITCH_HOME", tmp_path)


COOKIES = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "OFFICER_COOKIE_NAME")


def cookie_names(values: dict[str, Any]) -> set[str]:
    names = {values[name] for name in COOKIES}
    assert len(names) == len(COOKIES)
    return names


def test_consoles_of_two_environments_share_no_cookie_and_hosts_of_one_share_all(
    settings_with: Callable[..., dict[str, Any]],
) -> None:
    real = {"EMS_BASE_URL": "http://127.0.0.1:9"}
    uat = cookie_names(settings_with(KILLSWITCH_ENVIRONMENT="uat", PORT="8000", **real))
    assert uat == cookie_names(settings_with(KILLSWITCH_ENVIRONMENT=" UAT ", PORT="8002", **real))
    production = cookie_names(
        settings_with(KILLSWITCH_ENVIRONMENT="production", PORT="8000", **real)
    )
    assert not uat & production


@pytest.mark.parametrize("ems", ["", "http://127.0.0.1:9"])
def test_without_a_named_environment_consoles_on_two_ports_share_no_cookie(
    settings_with: Callable[..., dict[str, Any]], ems: str
) -> None:
    one, other = (
        cookie_names(settings_with(PORT=port, EMS_BASE_URL=ems)) for port in ("8000", "8002")
    )
    assert not one & other


@pytest.mark.parametrize(
    "environment", ["", "uat", "Production", "UAT Zürich", "uat/2", 'u"at', "a;b=c", "é" * 300]
)
@pytest.mark.parametrize("proxies", ["0", "1"])
def test_a_cookie_has_a_valid_name_whatever_the_environment_is_called(
    settings_with: Callable[..., dict[str, Any]], environment: str, proxies: str
) -> None:
    try:
        values = settings_with(KILLSWITCH_ENVIRONMENT=environment, TRUSTED_PROXY_COUNT=proxies)
    except ImproperlyConfigured:
        return  # no console has this name
    for name in cookie_names(values):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name)
        assert name.startswith("__Host-") == (proxies == "1")


@pytest.mark.parametrize("name", list(BOUNDS))
def test_numbers_of_seconds_have_bounds(
    settings_with: Callable[..., dict[str, Any]], name: str
) -> None:
    lowest, highest = BOUNDS[name]
    for value in (lowest, highest):
        values = settings_with(**{name: str(value)})
        assert values[name] == value
    for invalid in (lowest / 2, highest * 2, 0, "1e5", "nan", "inf", "-1", "0x1"):
        with pytest.raises(
            ImproperlyConfigured, match=rf"^{name}=.* from {lowest:g} to {highest:g}\.$"
        ):
            settings_with(**{name: str(invalid)})


def test_the_simulator_has_a_port_of_its_own(
    settings_with: Callable[..., dict[str, Any]],
) -> None:
    variables = {"PORT": "8000", "SIMULATOR_PORT": "8000"}
    with pytest.raises(ImproperlyConfigured, match=r"^SIMULATOR_PORT=8000 is also PORT"):
        settings_with(**variables)
    real = settings_with(**variables, EMS_BASE_URL="http://127.0.0.1:9")
    assert real["PORT"] == 8000


@pytest.mark.parametrize(
    "value",
    [
        "https://killswitch.example.com",
        "a.example.com,b.example.com",
        "localhost killswitch.example.com/",
        "killswitch.example.com:8000",
        "'killswitch.example.com'",
        "*.example.com",
    ],
)
def test_a_host_that_would_never_match_is_named(
    settings_with: Callable[..., dict[str, Any]], value: str
) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"^ALLOWED_HOSTS: .* host names separated by spaces"
    ):
        settings_with(ALLOWED_HOSTS=value)


def test_hosts_that_can_match_are_accepted(
    settings_with: Callable[..., dict[str, Any]],
) -> None:
    hosts = "localhost 127.0.0.1 [::1] [fe80::1] .example.com kill_switch.example.com *"
    values = settings_with(ALLOWED_HOSTS=hosts)
    assert values["ALLOWED_HOSTS"] == hosts.split()


# --- paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["EMS_CLIENT_CERT", "EMS_CA_BUNDLE", "KILLSWITCH_HOME"])
def test_a_home_directory_in_a_path_is_expanded(
    set_variables: Callable[..., None], tmp_path: Path, name: str
) -> None:
    user = pwd.getpwuid(os.getuid())
    homes = {"~/file": str(tmp_path), f"~{user.pw_name}/file": user.pw_dir.rstrip("/")}
    for value, home in homes.items():
        set_variables(HOME=str(tmp_path), **{name: value})
        assert env.path(name) == f"{home}/file"


def test_a_home_directory_in_the_data_directory_is_expanded(
    set_variables: Callable[..., None], tmp_path: Path
) -> None:
    set_variables(HOME=str(tmp_path), KILLSWITCH_HOME="~/data")
    assert env.home("KILLSWITCH_HOME", Path("/nowhere")) == tmp_path / "data"
    assert (tmp_path / "data").is_dir()


def test_every_setting_with_a_path_is_expanded(
    settings_with: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    values = settings_with(
        HOME=str(tmp_path),
        EMS_BASE_URL="https://ems.example.com",
        EMS_CLIENT_CERT="~/client.pem",
        EMS_CA_BUNDLE="~/authority.pem",
        DATABASE_URL="sqlite:///~/log.sqlite3",
        REDIS_URL="unix://~/redis.sock?db=1",
        SECRET_KEY="hunter22" * 4,
    )
    assert values["EMS_CLIENT_CERT"] == f"{tmp_path}/client.pem"
    assert values["EMS_CA_BUNDLE"] == f"{tmp_path}/authority.pem"
    assert values["DATABASES"]["default"]["NAME"] == f"{tmp_path}/log.sqlite3"
    assert values["REDIS_URL"] == f"unix://{tmp_path}/redis.sock?db=1"
    assert values["CELERY_BROKER_URL"] == f"redis+socket://{tmp_path}/redis.sock?db=1"


@pytest.mark.parametrize(
    ("url", "expanded"),
    [
        ("sqlite:///~/log", "sqlite:////home/olga/log"),
        ("sqlite:////~/log", "sqlite:////home/olga/log"),
        ("unix:///~/redis.sock", "unix:///home/olga/redis.sock"),
        (
            "postgresql://h/log?sslrootcert=~/root.crt&sslmode=verify-full&passfile=~/passwords",
            "postgresql://h/log?sslrootcert=/home/olga/root.crt&sslmode=verify-full"
            "&passfile=/home/olga/passwords",
        ),
        ("rediss://h/0?ssl_ca_certs=~/ca.pem", "rediss://h/0?ssl_ca_certs=/home/olga/ca.pem"),
        ("postgresql://olga:~@h/~/log", "postgresql://olga:~@h/~/log"),
        ("redis://:~@h/0?password=~/x", "redis://:~@h/0?password=~/x"),
        ("sqlite:///a~/log", "sqlite:///a~/log"),
    ],
)
def test_a_home_directory_in_a_url_is_expanded_where_a_file_is_named(
    set_variables: Callable[..., None], url: str, expanded: str
) -> None:
    set_variables(HOME="/home/olga", DATABASE_URL=url)
    schemes = ("sqlite", "unix", "postgresql", "redis", "rediss")
    assert env.url("DATABASE_URL", schemes=schemes) == expanded


def test_a_home_directory_that_is_unknown_is_refused_without_repeating_a_url(
    set_variables: Callable[..., None],
) -> None:
    set_variables(
        KILLSWITCH_HOME="~no-such-user/data",
        DATABASE_URL="postgresql://olga:hunter22@h/log?sslrootcert=~no-such-user/root.crt",
    )
    message = "no home directory ~no-such-user"
    with pytest.raises(ImproperlyConfigured, match=f"^KILLSWITCH_HOME: .*{message}"):
        env.home("KILLSWITCH_HOME", Path("/nowhere"))
    with pytest.raises(ImproperlyConfigured, match=f"^DATABASE_URL: .*{message}") as refusal:
        env.url("DATABASE_URL", schemes=("postgresql",))
    assert "hunter22" not in str(refusal.value)


def test_a_url_in_quotation_marks_is_refused_with_a_hint(
    set_variables: Callable[..., None],
) -> None:
    set_variables(REDIS_URL='"redis://:hunter22@h/0"')
    with pytest.raises(ImproperlyConfigured, match=r"^REDIS_URL .* without quotation marks"):
        env.url("REDIS_URL", schemes=("redis",))


@pytest.mark.parametrize("end", [" ", "\n", "\r\n", "\t", "\u00a0"])
def test_white_space_around_a_key_is_no_part_of_it(
    settings_with: Callable[..., dict[str, Any]], end: str
) -> None:
    values = settings_with(EMS_API_KEY=f"{end}hunter22{end}", SECRET_KEY=f"hunter23{end}")
    assert (values["EMS_API_KEY"], values["SECRET_KEY"]) == ("hunter22", "hunter23")


def test_an_ipv6_address_to_listen_on_is_a_host_that_matches(
    settings_with: Callable[..., dict[str, Any]],
) -> None:
    values = settings_with(HOST="::1", ALLOWED_HOSTS="killswitch.example.com")
    assert values["ALLOWED_HOSTS"] == ["killswitch.example.com", "[::1]"]


def test_a_database_may_have_several_hosts(
    settings_with: Callable[..., dict[str, Any]],
) -> None:
    values = settings_with(
        DATABASE_URL="postgresql://u:p%2C%40@DB1:5433,db2,[::1]:5434/name?sslmode=require",
        EMS_BASE_URL="https://ems.example.com",
        SECRET_KEY="only-for-tests",
    )
    database = values["DATABASES"]["default"]
    assert (database["HOST"], database["PORT"]) == ("db1,db2,::1", "5433,5432,5434")
    assert (database["USER"], database["PASSWORD"], database["NAME"]) == ("u", "p,@", "name")
    assert database["OPTIONS"]["target_session_attrs"] == "read-write"
    assert database["OPTIONS"]["sslmode"] == "require"
    assert several_hosts.addresses(database) == ["db1:5433", "db2:5432", "::1:5434"]


@pytest.mark.parametrize(
    "hosts",
    ["db1:5432,", ",db2", "db1,,db2", "db1:5432,db2:port", "db1:99999,db2"],
)
def test_malformed_hosts_are_refused_without_the_password(
    set_variables: Callable[..., None], hosts: str
) -> None:
    set_variables(DATABASE_URL=f"postgresql://user:hunter22@{hosts}/name")
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL must .*commas") as refusal:
        env.url("DATABASE_URL", schemes=("postgresql",), may_have_hosts=True)
    assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize("attrs", ["any", "standby", "prefer-standby", "read-only", "readwrite"])
def test_several_servers_are_never_used_where_nothing_can_be_recorded(attrs: str) -> None:
    url = f"postgresql://user:hunter22@db1,db2/name?target_session_attrs={attrs}"
    with pytest.raises(ImproperlyConfigured, match="must be read-write"):
        several_hosts.database(url)


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://:hunter22@h1:26379,h2:26379/0",
        "sentinel://:hunter22@h1:26379/0?master_name=m&ssl_ca_certs=/ca.pem",
        "redis://:hunter22@h1:6379,h2:6379/0",
        "redis://:hunter22@h1:6379/0?master_name=m",
    ],
)
def test_a_queue_that_cannot_be_meant_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^REDIS_URL: .*master_name") as refusal:
        queue_url.broker(url)
    assert "hunter22" not in str(refusal.value)


def test_the_urls_of_the_queue_are_translated_for_celery() -> None:
    plain = queue_url.broker("unix:///home/olga/redis.sock?db=1")
    assert (plain.url, plain.tls) == ("redis+socket:///home/olga/redis.sock?db=1", None)
    encrypted = queue_url.broker("rediss://:p%40w@h:6380/0?ssl_ca_certs=/etc/ca.pem")
    assert encrypted.url == "rediss://:p%40w@h:6380/0"
    assert encrypted.tls == {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": "/etc/ca.pem",
    }
    several = queue_url.broker("sentinel://:pw@h1:26380,h2/0?master_name=cancels")
    assert several.url == "sentinel://:pw@h1:26380/0;sentinel://:pw@h2/0"
    assert several.sentinels == (("h1", 26380), ("h2", 26379))
    assert several.transport_options["master_name"] == "cancels"
