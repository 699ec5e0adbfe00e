"""Attacks from a browser, signed in or not, and how they fail."""

import re
import unicodedata
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_user
from killswitch.audit.actors import SYSTEM
from killswitch.audit.models import AuditEvent
from killswitch.cancels.models import Batch
from killswitch.exchanges.models import Exchange, ExchangeGroup, UncoveredExchange
from killswitch.exchanges.runbook import save_runbook
from tests import factories
from tests.accounts.mfa.codes import SECOND_FACTOR, Clock, set_up
from tests.accounts.people import events, sign_in, signed_in
from tests.accounts.test_decorators import VIEWS

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]
NASTY = """"'><script>alert(1)</script><img src=x onerror=alert(1)>{{1234*4321}}"""
TURNED = "safe\u202egnp.exe"


@pytest.mark.parametrize(
    "path",
    [
        "/administration/people/?q=%00&role=%00",
        "/administration/people/?password__startswith=md5",
        "/administration/people/%00/",
        "/administration/people/99999999999999999999999/",
        "/administration/people/99999999999999999999999/role/",
        "/administration/exchanges/99999999999999999999999/disable/",
        "/administration/exchanges/add/?exchange_id=%00",
        "/administration/exchanges/add/?exchange_id=" + "x" * 5000,
        "/administration/groups/99999999999999999999999/remove/",
        "/admin/jsi18n/?language=%00",
        "/admin/%00/",
    ],
)
def test_no_address_of_the_pages_of_administrators_is_an_error(ada: Client, path: str) -> None:
    ada.raise_request_exception = False
    assert ada.get(path).status_code in {200, 302, 404}
    assert ada.post(path, {"position": "9" * 30, "name": "x"}).status_code in {200, 302, 404}


@pytest.mark.parametrize(
    "value", ['"\\000aaaaaaaaaaaaaa"', "a" * 9000, "../../x", '"\\377aaaaaaaaa"']
)
def test_no_cookie_is_an_error(settings: Any, value: str) -> None:
    for name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME):
        stranger = Client(raise_request_exception=False, headers={"Cookie": f"{name}={value}"})
        assert stranger.get("/").status_code == 302
        assert stranger.get("/accounts/login/").status_code == 200


def test_foreign_text_acts_on_no_page_of_administrators(ada: Client) -> None:
    exchange = Exchange.objects.create(exchange_id=NASTY, name=NASTY, caveat=NASTY + TURNED)
    olga = factories.person(Role.RISK_OFFICER, full_name=NASTY[:110])
    group = ExchangeGroup.objects.create(name=NASTY)
    group.exchanges.add(exchange)
    UncoveredExchange.objects.create(exchange_id=NASTY + TURNED, open_orders=1)
    save_runbook(NASTY, by=SYSTEM, origin={})
    ada.post("/accounts/password/again/", {"password": factories.PASSWORD})
    for path in (
        "/administration/exchanges/",
        f"/administration/exchanges/{exchange.pk}/",
        f"/administration/exchanges/{exchange.pk}/disable/",
        f"/administration/exchanges/add/?exchange_id={quote(NASTY)}",
        "/administration/groups/",
        f"/administration/groups/{group.pk}/",
        f"/administration/groups/{group.pk}/remove/",
        "/administration/people/",
        f"/administration/people/{olga.pk}/",
        f"/administration/people/{olga.pk}/disable/",
        "/administration/runbook/",
        f"/admin/{NASTY}",
    ):
        text = ada.get(path).content.decode()
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
        assert "5332114" not in text, path


def test_the_pages_of_administrators_cannot_be_framed_or_cached(ada: Client) -> None:
    for path in ("/administration/", "/administration/people/", "/administration/exchanges/add/"):
        headers = ada.get(path).headers
        assert "no-store" in headers["Cache-Control"], path
        assert "unsafe" not in headers["Content-Security-Policy"], path
        assert headers["X-Frame-Options"] == "DENY", path


@pytest.mark.parametrize("url", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_signing_out_leads_nowhere_else(url: str) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    answer = browser.post("/accounts/logout/", {"next": url})
    assert answer["Location"] == "/accounts/login/"


@pytest.mark.parametrize("url", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_confirming_the_password_leads_nowhere_else(url: str) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    answer = browser.post(
        "/accounts/password/again/", {"password": factories.PASSWORD, "next": url}
    )
    assert answer["Location"] == "/"


def test_without_the_csrf_token_no_account_page_accepts_a_post(clock: Clock) -> None:
    person = factories.person(Role.RISK_OFFICER)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(person)
    for path in (
        "login/",
        "logout/",
        "password/change/",
        "password/again/",
        "second-factor/code/",
        "second-factor/set-up/",
        "second-factor/turn-off/",
        "second-factor/recovery-codes/renew/",
    ):
        for headers in ({}, {"HX-Request": "true"}, {"Origin": "https://evil.example"}):
            assert strict.post(f"/accounts/{path}", headers=headers).status_code == 403, path


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options", "trace"])
def test_no_other_method_changes_a_second_factor(method: str, clock: Clock) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    set_up(browser, clock)
    before = AuditEvent.objects.count()
    for path in ("", "set-up/", "turn-off/", "recovery-codes/", "recovery-codes/renew/", "code/"):
        answer = getattr(browser, method)(f"{SECOND_FACTOR}{path}")
        assert answer.status_code == 405, path
    assert AuditEvent.objects.count() == before


def test_a_password_in_an_address_does_not_sign_in_and_is_not_shown_or_stored() -> None:
    factories.person(Role.RISK_OFFICER)
    browser = Client()
    page = browser.get("/accounts/login/", {"login": "olga", "password": factories.PASSWORD})
    assert factories.PASSWORD not in page.content.decode()
    assert browser.get(SECOND_FACTOR).status_code == 302
    assert not any(factories.PASSWORD in event.data for event in AuditEvent.objects.all())


@pytest.mark.parametrize(
    "forwarded_for", ["6.6.6.6, 10.0.0.1", "<script>, 10.0.0.1", ",,,10.0.0.1", "10.0.0.1"]
)
def test_only_the_hop_of_our_own_proxy_is_believed(settings: Any, forwarded_for: str) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    factories.person(Role.RISK_OFFICER)
    sign_in(Client(headers={"X-Forwarded-For": forwarded_for}), "olga", "wrong")
    assert '"address":"10.0.0.1"' in events("SIGN_IN_FAILED")[0].data


def test_a_key_from_before_a_change_of_role_requests_no_cancel() -> None:
    """The same person, first an officer, then in compliance, then an officer again."""
    exchange = Exchange.objects.create(exchange_id="KRAKEN")
    browser = signed_in(Role.RISK_OFFICER)
    path = f"/exchanges/{exchange.pk}/cancel-all/"
    key = re.search(r'name="key" value="([^"]+)"', browser.get(path).content.decode())
    assert key
    olga = User.objects.get(username="olga")
    olga.role = Role.COMPLIANCE
    save_user(olga, by=SYSTEM)
    assert browser.post(path, {"key": key[1]}).status_code == 302
    assert sign_in(browser, "olga").status_code == 302
    assert browser.post(path, {"key": key[1]}).status_code == 403
    assert Batch.objects.count() == 0


def test_every_session_of_a_switched_off_person_ends(clock: Clock) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    olga = User.objects.get(username="olga")
    olga.is_active = False
    save_user(olga, by=SYSTEM)
    for path in ("/", "/poll/", "/cancel-all/", SECOND_FACTOR, "/accounts/password/change/"):
        assert browser.get(path).status_code == 302, path
        assert browser.get(path, headers={"HX-Request": "true"}).status_code == 401, path


def test_a_guess_at_the_old_password_is_recorded_like_one_at_signing_in() -> None:
    """An intruder at an unlocked screen tries to set a new password."""
    browser = signed_in(Role.RISK_OFFICER)
    form = {"oldpassword": "guess", "password1": "a much better one 7", "password2": "x"}
    answers = [browser.post("/accounts/password/change/", form) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[-1]["Retry-After"] == "60"
    first, *_, last = events("SIGN_IN_FAILED")
    assert '"username":"olga"' in first.data
    assert '"why":"wrong password"' in first.data
    assert '"why":"too many tries"' in last.data
    assert "guess" not in first.data


@pytest.mark.parametrize("role", Role)
def test_no_page_is_kept_by_a_cache(role: Role) -> None:
    browser = Client()
    browser.force_login(factories.person(role))
    for route, path, _ in VIEWS:
        answer = browser.get(path)
        if answer.status_code == 200:
            assert "no-store" in answer.headers.get("Cache-Control", ""), route


def test_a_form_of_a_person_takes_no_other_columns(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    before = User.objects.filter(pk=olga.pk).values().get()
    more = {"password": "x", "is_demo": "on", "session_epoch": "7", "username": "root", "id": "1"}
    more |= {"role": "ADMINISTRATOR", "is_active": "", "must_change_password": "on"}
    ada.post(f"/administration/people/{olga.pk}/", {"full_name": olga.full_name} | more)
    assert User.objects.filter(pk=olga.pk).values().get() == before


def test_attempts_from_many_addresses_do_not_reset_the_limit_of_one(settings: Any) -> None:
    # Over an hour and not a minute: so many sign-ins take that long on a busy machine.
    settings.ACCOUNT_RATE_LIMITS = settings.ACCOUNT_RATE_LIMITS | {"login": "30/h/ip"}
    factories.person(Role.RISK_OFFICER)
    address = "192.0.2.66"
    for _ in range(30):
        sign_in(Client(REMOTE_ADDR=address), "olga")
    assert sign_in(Client(REMOTE_ADDR=address), "olga").status_code == 429
    for number in range(200):
        sign_in(Client(REMOTE_ADDR=f"198.51.{number // 100}.{number % 100}"), "unknown", "wrong")
    assert sign_in(Client(REMOTE_ADDR=address), "olga").status_code == 429


def test_only_a_short_name_is_normalised_however_long_the_typed_one_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Normalising takes time by the square of a run of accents, also over the limit."""
    lengths = []
    normalize = unicodedata.normalize

    def measure(form: Any, text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", measure)
    for _ in range(32):
        answer = sign_in(Client(), "a" + "\u0301\u0316" * 1000)
    assert answer.status_code == 429
    assert max(lengths, default=0) <= 120


def test_a_name_that_is_too_long_matches_no_one_even_where_it_begins_like_a_real_one() -> None:
    factories.person(Role.RISK_OFFICER, username="r" * 60)
    for typed in ("r" * 61, "r" * 500, "r" * 60 + " " * 500):
        with pytest.raises(User.DoesNotExist):
            User.objects.get_by_natural_key(typed)


def test_too_many_attempts_with_a_name_that_no_database_stores_get_the_page() -> None:
    client = Client(raise_request_exception=False)
    assert {sign_in(client, "a\0b").status_code for _ in range(32)} == {200, 429}


@pytest.mark.parametrize("back", ["//[", "http://[::1", "//\u2100", "http://a]b/audit/"])
def test_an_invalid_address_leads_back_to_the_review(back: str) -> None:
    carl = signed_in(Role.COMPLIANCE)
    signed_in(Role.RISK_OFFICER).get("/audit/")
    (denied,) = events("DENIED")
    carl.raise_request_exception = False
    form = {"event": denied.seq, "mark": "REVIEWED", "note": "", "back": back}
    answer = carl.post("/audit/review/", form)
    assert (answer.status_code, answer["Location"][:15]) == (303, "/audit/review/?")


@pytest.mark.parametrize("path", ["/audit/export.csv", "/audit/export.jsonl"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_a_page_of_another_site_cannot_export(path: str, site: str) -> None:
    carl = signed_in(Role.COMPLIANCE)
    answer = carl.get(path, headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403
    assert "A link on another website requested this export" in answer.content.decode()
    assert not events("EXPORTED")


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_pages_of_ours_and_scripts_export(headers: dict[str, str]) -> None:
    carl = signed_in(Role.COMPLIANCE)
    assert carl.get("/audit/export.csv", headers=headers).status_code == 200
    assert len(events("EXPORTED")) == 1
