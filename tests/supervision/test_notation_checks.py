"""Values that are accepted, but written wrongly, are warnings with what to write instead."""

import socket
from collections.abc import Iterable
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.http.request import split_domain_port, validate_host
from hypothesis import given
from hypothesis import strategies as st

from killswitch import env
from killswitch.supervision import checks, notation_checks, prepare, startup_banner
from killswitch.supervision.notation_checks import why_never_matched


def texts(messages: Iterable[CheckMessage]) -> list[str]:
    return [message.msg for message in messages]


# --- ALLOWED_HOSTS ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("kill_switch.example.com", "give this machine another name"),
        ("_", "give this machine another name"),
        (".kill_switch.example.com", "give this machine another name"),
        ("b\u00fccher.example.com", "write xn--bcher-kva.example.com"),
        (".stra\u00dfe.example", "write .xn--strae-oqa.example"),
        ("B\u00dcCHER.example.", "write xn--bcher-kva.example"),
        ("killswitch.example.com.", "write killswitch.example.com"),
        (".example.com.", "write .example.com"),
        ("[0:0:0:0:0:0:0:1]", "write [::1]"),
        ("[::0001]", "write [::1]"),
        ("[:::1]", "it is not an IP address"),
        ("127.1", "it is not an IP address"),
        ("010.0.0.1", "it is not an IP address"),
        (f"{'x' * 64}.example.com", "at most 63 characters between two dots"),
    ],
)
def test_a_host_that_can_match_nothing_is_a_warning(
    settings: Any, monkeypatch: pytest.MonkeyPatch, host: str, advice: str
) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", f"localhost {host}")
    settings.ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", "")
    (text,) = texts(notation_checks.check_allowed_hosts())
    assert text.startswith(f"ALLOWED_HOSTS: {host} can match no request: ")
    assert text.endswith(f"{advice}.")
    checks.require(checks.CONFIGURATION)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1", "[::1]", "[FE80::1]", ".example.com", "*", "KILL.Example.Com"),
        *("xn--bcher-kva.example.com", "kill-switch", "3com.example", "[::ffff:127.0.0.1]"),
    ],
)
def test_a_host_that_can_match_is_accepted_without_a_warning(settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = [host]
    assert texts(notation_checks.check_allowed_hosts()) == []
    request = host.lower().removeprefix(".").replace("*", "other.example")
    assert validate_host(request, [host])


@given(st.from_regex(env.HOST, fullmatch=True))
def test_a_host_without_a_warning_is_one_that_django_matches(host: str) -> None:
    if host == "*" or why_never_matched(host):
        return
    domain, _ = split_domain_port(host.removeprefix("."))
    assert validate_host(domain, [host])


def test_a_host_that_is_the_address_to_listen_on_is_named_as_such(settings: Any) -> None:
    settings.HOST, settings.ALLOWED_HOSTS = "kill_switch", ["kill_switch"]
    (text,) = texts(notation_checks.check_allowed_hosts())
    assert text.startswith("HOST: kill_switch can match no request")


# --- quotation marks --------------------------------------------------------------------------


@pytest.mark.parametrize("value", ['"hunter22"', "'hunter22'", '"hunter22', "hunter22'"])
@pytest.mark.parametrize("name", ["SECRET_KEY", "EMS_API_KEY", "AUDIT_SIGNING_KEY", "REDIS_URL"])
def test_quotes_around_a_value_are_a_warning_that_does_not_repeat_it(
    settings: Any, name: str, value: str
) -> None:
    setattr(settings, name, value)
    (text,) = texts(notation_checks.check_quotes())
    assert text.startswith(f"{name} begins or ends with a quotation mark")
    assert "hunter22" not in text


@pytest.mark.parametrize("name", ["SECRET_KEY_FALLBACKS", "ALERT_URLS"])
def test_quotes_around_a_list_are_a_warning(settings: Any, name: str) -> None:
    setattr(settings, name, ['"hunter22', 'hunter23"'])
    (text,) = texts(notation_checks.check_quotes())
    assert text.startswith(name)
    assert "hunter2" not in text


@pytest.mark.parametrize("value", ["", "hunter'22", 'hunter"22'])
def test_a_quote_within_a_value_is_no_warning(settings: Any, value: str) -> None:
    settings.EMS_API_KEY = value
    assert texts(notation_checks.check_quotes()) == []


def test_a_key_in_use_is_kept_as_a_fallback_without_its_quotes(settings: Any) -> None:
    settings.SECRET_KEY = '"hunter22"'
    (text,) = texts(notation_checks.check_quotes())
    assert "keep the value with its quotation marks in SECRET_KEY_FALLBACKS" in text


# --- EMS_BASE_URL -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *("http://ems.example.com", "http://10.1.2.3:8080/x", "http://ems", "http://192.0.2.1"),
        *("http://localhost.example.com", "http://127.0.0.1.example.com", "http://[2001:db8::1]"),
        *("HTTP://ems.example.com", "http://3232235777"),
    ],
)
def test_a_key_in_clear_text_to_another_machine_is_a_warning(settings: Any, url: str) -> None:
    settings.EMS_BASE_URL, settings.EMS_API_KEY = url, "hunter22"
    (text,) = texts(notation_checks.check_ems_url())
    assert "EMS_BASE_URL is plain http" in text
    assert "is not this machine" in text
    assert "hunter22" not in text
    settings.EMS_API_KEY = ""
    assert texts(notation_checks.check_ems_url()) == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:9", "http://127.9.9.9", "http://[::1]:9", "http://localhost:9"),
        *("http://LOCALHOST.", "http://ems.localhost", "http://127.1", "http://0.0.0.0:9"),
        *("https://ems.example.com", "https://10.1.2.3", f"http://{socket.gethostname()}:9"),
    ],
)
def test_a_key_that_stays_on_this_machine_or_is_encrypted_is_no_warning(
    settings: Any, url: str
) -> None:
    settings.EMS_BASE_URL, settings.EMS_API_KEY = url, "hunter22"
    assert texts(notation_checks.check_ems_url()) == []


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/ems/v1", "/v1/orders", "/v1/orders//"])
def test_a_path_that_is_added_anyway_is_a_warning(settings: Any, end: str) -> None:
    settings.EMS_BASE_URL = f"https://ems.example.com{end}"
    (text,) = texts(notation_checks.check_ems_url())
    assert text.startswith("EMS_BASE_URL ends in /v1")


@pytest.mark.parametrize("end", ["", "/", "/v2", "/v1/proxy", "/env1", "/v1orders"])
def test_another_path_is_no_warning(settings: Any, end: str) -> None:
    settings.EMS_BASE_URL = f"https://ems.example.com{end}"
    assert texts(notation_checks.check_ems_url()) == []


@pytest.mark.parametrize("name", ["EMS_CLIENT_CERT", "EMS_CA_BUNDLE"])
def test_certificates_that_plain_http_does_not_use_are_a_warning(settings: Any, name: str) -> None:
    setattr(settings, name, "/etc/killswitch/file.pem")
    (text,) = texts(notation_checks.check_ems_url())
    assert text.startswith(f"{name} is not used, because EMS_BASE_URL is plain http")


# --- where they are printed -------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_warnings_are_logged_once_and_printed_at_the_start(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALLOWED_HOSTS, settings.EMS_API_KEY = ["kill_switch"], '"hunter22"'
    settings.EMS_BASE_URL = "http://ems.example.com/v1"
    prepare.prepare()
    banner = startup_banner.text([])
    for text in ("kill_switch can match no", "EMS_API_KEY begins", "ends in /v1", "is plain http"):
        assert (caplog.text.count(text), banner.count(text)) == (1, 1), text
    assert "hunter22" not in caplog.text + banner
