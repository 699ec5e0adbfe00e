"""Signing in and out: who can, what the log keeps of it, and the limits of attempts."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from killswitch.accounts.models import Role, User
from killswitch.audit.models import AuditEvent
from tests import factories
from tests.accounts.mfa import codes
from tests.accounts.people import data, events, sign_in, signed_in
from tests.failures import full_log

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]
WRONG = "not the password"


def test_signing_in_and_out_is_recorded_with_address_and_browser() -> None:
    factories.person(Role.RISK_OFFICER)
    browser = Client(REMOTE_ADDR="192.0.2.7", headers={"User-Agent": "Firefox\x00 on a desk"})
    assert sign_in(browser, "olga").status_code == 302
    browser.post("/accounts/logout/")
    signed_in_event, signed_out_event = events("SIGNED_IN", "SIGNED_OUT")
    for event in (signed_in_event, signed_out_event):
        assert (event.actor, event.role) == ("Olga Ray (olga)", "RISK_OFFICER")
        assert data(event) == {"address": "192.0.2.7", "user_agent": "Firefox␀ on a desk"}
    assert browser.get("/poll/").status_code == 302


def test_the_case_of_the_name_does_not_matter() -> None:
    factories.person(Role.RISK_OFFICER)
    assert sign_in(Client(), " OLGA ").status_code == 302


def test_a_wrong_password_says_so_in_words_and_is_recorded_without_it() -> None:
    factories.person(Role.RISK_OFFICER)
    page = sign_in(Client(), "olga", WRONG)
    assert page.status_code == 200
    assert b"username or password is wrong" in page.content  # type: ignore[attr-defined]
    (event,) = events("SIGN_IN_FAILED")
    assert event.actor == "anonymous"
    assert data(event) | {"user_agent": ""} == {
        "username": "olga",
        "why": "wrong password",
        "address": "127.0.0.1",
        "user_agent": "",
        "count": 1,
    }


def test_a_password_typed_as_the_name_never_reaches_the_log() -> None:
    factories.person(Role.RISK_OFFICER)
    sign_in(Client(), factories.PASSWORD, "olga")
    (event,) = events("SIGN_IN_FAILED")
    assert data(event)["why"] == "no such person"
    assert not any(factories.PASSWORD in event.data for event in AuditEvent.objects.all())


def test_ten_failures_from_one_address_are_two_events_and_another_person_is_a_third() -> None:
    factories.person(Role.RISK_OFFICER)
    factories.person(Role.COMPLIANCE)
    for _ in range(9):
        sign_in(Client(), "olga", WRONG)
    sign_in(Client(), "carl", WRONG)
    assert [(data(e)["username"], data(e)["count"]) for e in events("SIGN_IN_FAILED")] == [
        ("olga", 1),
        ("carl", 1),
    ]


def test_signing_in_marks_the_browsers_of_officers_only(settings: Any) -> None:
    for role in Role:
        answer: Any = sign_in(Client(), factories.person(role).username)
        assert (settings.OFFICER_COOKIE_NAME in answer.cookies) == (role == Role.RISK_OFFICER)


@pytest.mark.parametrize("prefix", ["", "__Host-"])
def test_every_cookie_is_one_of_the_three_with_names_of_this_console(
    settings: Any, prefix: str
) -> None:
    names = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "OFFICER_COOKIE_NAME")
    for name in names:
        setattr(settings, name, f"{prefix}{getattr(settings, name)}")
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = bool(prefix)
    factories.person(Role.RISK_OFFICER)
    browser = Client()
    answers: list[Any] = [
        browser.get("/accounts/login/"),
        sign_in(browser, "olga"),
        browser.get("/"),
        browser.get("/accounts/password/change/"),
        browser.get("/accounts/second-factor/"),
        browser.post("/accounts/logout/"),
    ]
    cookies = [cookie for answer in answers for cookie in answer.cookies.values()]
    assert {cookie.key for cookie in cookies} == {getattr(settings, name) for name in names}
    for cookie in cookies:
        assert (cookie["path"], cookie["domain"]) == ("/", ""), cookie
        assert bool(cookie["secure"]) == bool(prefix), cookie


def test_signing_out_clears_an_unanswered_cancel_from_the_browser() -> None:
    browser = signed_in(Role.RISK_OFFICER)
    assert browser.post("/accounts/logout/")["Clear-Site-Data"] == '"storage"'
    assert "Clear-Site-Data" not in browser.get("/accounts/logout/")


def test_too_many_failures_get_a_clear_page_and_lock_the_address_but_not_the_name() -> None:
    factories.person(Role.RISK_OFFICER)
    attacker = Client(REMOTE_ADDR="192.0.2.66")
    for _ in range(10):
        assert sign_in(attacker, "olga", WRONG).status_code == 200
    refused: Any = sign_in(attacker, "olga")
    assert refused.status_code == 429
    assert refused["Retry-After"] == "60"
    assert b"Wait one minute" in refused.content
    assert sign_in(Client(REMOTE_ADDR="192.0.2.1"), "olga").status_code == 302
    assert "too many tries" in [data(event)["why"] for event in events("SIGN_IN_FAILED")]


@pytest.mark.parametrize(
    ("proxies", "forwarded"), [(0, "203.0.113.7"), (1, ""), (1, "unknown"), (2, "203.0.113.7")]
)
def test_a_limit_that_all_users_of_a_proxy_share_is_not_called_that_of_one_address(
    settings: Any, proxies: int, forwarded: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    browser = Client(headers={"X-Forwarded-For": forwarded})
    answers: list[Any] = [sign_in(browser, "olga", WRONG) for _ in range(11)]
    page = " ".join(answers[-1].content.decode().split())
    assert answers[-1].status_code == 429
    assert "The proxy is misconfigured" in page
    assert "No user is locked out" not in page
    assert "your network address" not in page


@pytest.mark.parametrize(
    ("path", "fields", "allowed"),
    [
        ("/accounts/login/", {"login": "olga", "password": WRONG}, 10),
        (codes.CODE, {"code": "000000"}, 10),
        (codes.CONFIRM_PASSWORD, {"password": WRONG}, 10),
        (
            "/accounts/password/change/",
            {"oldpassword": WRONG, "password1": "x", "password2": "x"},
            5,
        ),
    ],
)
def test_each_ipv4_address_has_limits_of_its_own_on_an_ipv6_socket(
    clock: codes.Clock, path: str, fields: dict[str, str], allowed: int
) -> None:
    """Where HOST is ::, each IPv4 address arrives as one of ::ffff:0:0/96, all in one /64."""
    secret = codes.set_up(signed_in(Role.RISK_OFFICER), clock)
    factories.person(Role.COMPLIANCE)
    attacker = Client(REMOTE_ADDR="::ffff:192.0.2.66")
    if path == codes.CODE:
        sign_in(attacker, "olga")
    elif path != "/accounts/login/":
        attacker.force_login(User.objects.get(username="olga"))
    answers = [attacker.post(path, fields).status_code for _ in range(allowed + 1)]
    assert answers == [200] * allowed + [429]
    colleague = codes.half_signed_in(REMOTE_ADDR="::ffff:192.0.2.1")
    code = {"code": codes.code_at(secret, clock.now)}
    assert colleague.post(codes.CODE, code)["Location"] == "/"
    other = Client(REMOTE_ADDR="::ffff:192.0.2.2")
    assert sign_in(other, "carl").status_code == 302
    form = {"password": factories.PASSWORD}
    assert other.post(codes.CONFIRM_PASSWORD, form).status_code == 302
    assert other.post("/accounts/password/change/", fields).status_code == 200
    assert data(events("SIGN_IN_FAILED")[0])["address"] == "192.0.2.66"


def test_too_many_sign_ins_of_any_kind_are_refused_and_recorded() -> None:
    factories.person(Role.RISK_OFFICER)
    browser = Client()
    answers = [sign_in(Client(), "olga").status_code for _ in range(31)]
    assert answers == [302] * 30 + [429]
    assert [data(event)["why"] for event in events("SIGN_IN_FAILED")] == ["too many tries"]
    assert browser.get("/accounts/login/").status_code == 200


def test_a_person_who_is_switched_off_cannot_sign_in() -> None:
    factories.person(Role.RISK_OFFICER, is_active=False)
    assert sign_in(Client(), "olga").status_code == 200
    (event,) = events("SIGN_IN_FAILED")
    assert data(event)["why"] == "switched off"


def test_demo_people_sign_in_in_the_demo_only(settings: Any) -> None:
    factories.person(Role.RISK_OFFICER, is_demo=True)
    settings.DEMO = True
    browser = Client()
    assert sign_in(browser, "olga").status_code == 302
    assert browser.get("/accounts/password/change/").status_code == 200
    settings.DEMO = False
    assert browser.get("/accounts/password/change/").status_code == 302
    assert sign_in(Client(), "olga").status_code == 200
    assert data(events("SIGN_IN_FAILED")[0])["why"] == "demo person"


@pytest.mark.parametrize(
    "name", ["", "x" * 500, "nul\x00", "ri\ud800ta".encode("utf-8", "replace")]
)
def test_no_name_makes_an_error_page(name: Any) -> None:
    assert sign_in(Client(), name, WRONG).status_code == 200


def test_a_session_has_a_fixed_end_that_use_does_not_move(settings: Any) -> None:
    settings.SESSION_HOURS = 2
    browser = signed_in(Role.RISK_OFFICER)
    end = browser.session.get_expiry_date()
    assert abs(end - timezone.now() - timedelta(hours=2)) < timedelta(minutes=1)
    browser.get("/accounts/password/change/")
    assert browser.session.get_expiry_date() == end
    assert not browser.session.get_expire_at_browser_close()


def test_a_session_that_has_ended_opens_no_page() -> None:
    browser = signed_in(Role.RISK_OFFICER)
    session = browser.session
    session.set_expiry(timezone.now() - timedelta(seconds=1))
    session.save()
    assert browser.get("/accounts/password/change/").status_code == 302


@pytest.mark.parametrize("field", ["role", "is_active", "session_epoch", "password"])
def test_a_session_ends_when_the_persons_standing_changes(field: str) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    values = {"role": Role.COMPLIANCE, "is_active": False, "session_epoch": 1, "password": "other"}
    User.objects.filter(username="olga").update(**{field: values[field]})
    answer = browser.get("/accounts/password/change/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")


def test_changing_ones_password_ends_the_other_sessions_and_is_recorded() -> None:
    here, elsewhere = signed_in(Role.RISK_OFFICER), Client()
    sign_in(elsewhere, "olga")
    end = here.session.get_expiry_date()
    fresh = "a much better one 7"
    form = {"oldpassword": factories.PASSWORD, "password1": fresh, "password2": fresh}
    page = here.post("/accounts/password/change/", form, follow=True)
    assert b"Your password has been changed" in page.content
    assert here.session.get_expiry_date() == end
    assert elsewhere.get("/accounts/password/change/").status_code == 302
    (event,) = events("PASSWORD_CHANGED")
    assert event.actor == "Olga Ray (olga)"
    assert fresh not in event.data
    assert factories.PASSWORD not in event.data
    assert sign_in(Client(), "olga", fresh).status_code == 302
    assert events("ALARM_RAISED") == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (WRONG, "a much better one 7", b"The password is wrong"),
        (factories.PASSWORD, "short", b"too short"),
        (factories.PASSWORD, "password1234", b"too common"),
    ],
)
def test_a_bad_new_password_is_refused_in_words(old: str, new: str, words: bytes) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    form = {"oldpassword": old, "password1": new, "password2": new}
    page = browser.post("/accounts/password/change/", form)
    assert words in page.content
    assert events("PASSWORD_CHANGED") == []


@pytest.mark.parametrize(
    "path", ["signup", "email", "password/reset", "password/set", "inactive", "reauthenticate"]
)
def test_the_other_pages_of_allauth_do_not_exist(path: str) -> None:
    assert Client().get(f"/accounts/{path}/").status_code == 404


def test_no_page_leads_to_signing_up() -> None:
    with pytest.raises(NoReverseMatch):
        reverse("account_signup")
    assert b"ign up" not in Client().get("/accounts/login/").content


def test_sign_out_asks_first_and_needs_a_post() -> None:
    browser = signed_in(Role.RISK_OFFICER)
    assert browser.get("/accounts/logout/").status_code == 200
    assert browser.get("/accounts/password/change/").status_code == 200
    assert browser.post("/accounts/logout/")["Location"] == "/accounts/login/"
    assert browser.get("/accounts/password/change/").status_code == 302


def test_a_sign_in_that_cannot_be_recorded_does_not_happen() -> None:
    factories.person(Role.RISK_OFFICER)
    browser = Client(raise_request_exception=False)
    with full_log(OSError):
        assert sign_in(browser, "olga").status_code == 500
    assert browser.get("/accounts/password/change/").status_code == 302


def test_every_field_of_the_sign_in_page_has_its_label() -> None:
    page = Client().get("/accounts/login/").content.decode()
    for name in ("login", "password"):
        assert f'<label for="id_{name}">' in page
        assert f'id="id_{name}"' in page
    assert 'type="password"' in page
    assert "remember" not in page
