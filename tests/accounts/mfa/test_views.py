"""The second factor: without a code no page opens, and each code works once."""

import json
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from killswitch.accounts.mfa import services
from killswitch.accounts.models import Role, User
from killswitch.audit.models import AuditEvent
from killswitch.cancels.models import Batch
from tests import factories
from tests.accounts.mfa.codes import (
    CODE,
    CONFIRM_PASSWORD,
    RECOVERY,
    SECOND_FACTOR,
    SET_UP,
    Clock,
    code_at,
    confirm_password,
    half_signed_in,
    recovery_codes_in,
    secret_in,
    set_up,
)
from tests.accounts.people import data, events, sign_in, signed_in
from tests.failures import full_log
from tests.threads import run_at_once

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]
KINDS = (
    "SECOND_FACTOR_ADDED",
    "SECOND_FACTOR_REMOVED",
    "SECOND_FACTOR_RESET",
    "RECOVERY_CODES_RENEWED",
    "RECOVERY_CODE_USED",
)
HTMX = {"HX-Request": "true"}


@pytest.fixture
def olga(clock: Clock) -> Client:
    """The browser in which a risk officer has set up a second factor."""
    browser = signed_in(Role.RISK_OFFICER)
    browser.secret = set_up(browser, clock)  # type: ignore[attr-defined]
    return browser


@pytest.fixture
def secret(olga: Client) -> str:
    secret: str = olga.secret  # type: ignore[attr-defined]
    return secret


def _is_in(browser: Client) -> bool:
    return browser.get(SECOND_FACTOR).status_code == 200


class TestSettingUp:
    """From the menu to ten recovery codes."""

    def test_the_app_of_the_tests_follows_the_standard(self) -> None:
        secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        codes = [code_at(secret, now) for now in (59, 1111111109, 20000000000)]
        assert codes == ["287082", "081804", "353130"]

    def test_a_person_sets_it_up_and_gets_ten_codes_as_page_and_as_file(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        assert b"second factor is off" in browser.get(SECOND_FACTOR).content
        confirm_password(browser)
        page = browser.get(SET_UP)
        assert b"data:" not in page.content
        assert b'role="img"' in page.content
        form = {"code": code_at(secret_in(page), clock.now)}
        codes_page = browser.post(SET_UP, form, follow=True)
        assert codes_page.request["PATH_INFO"] == RECOVERY
        codes = recovery_codes_in(codes_page)
        assert len(set(codes)) == 10
        file = browser.get(f"{RECOVERY}file/")
        assert file.content.decode().split() == codes
        assert file["Content-Disposition"].startswith("attachment")
        (event,) = events(*KINDS)
        assert (event.kind, event.actor) == ("SECOND_FACTOR_ADDED", "Olga Ray (olga)")
        assert data(event)["username"] == "olga"
        assert data(event)["address"] == "127.0.0.1"

    def test_a_wrong_code_leaves_it_off_and_the_secret_as_it_is(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        confirm_password(browser)
        secret = secret_in(browser.get(SET_UP))
        page = browser.post(SET_UP, {"code": "000000"})
        assert b"This code is wrong" in page.content
        assert secret_in(page) == secret
        assert not Authenticator.objects.exists()
        assert events(*KINDS) == []

    @pytest.mark.parametrize("path", ["set-up/", "turn-off/", "recovery-codes/renew/"])
    def test_every_change_needs_a_recent_password(self, path: str) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        for answer in (browser.get(SECOND_FACTOR + path), browser.post(SECOND_FACTOR + path)):
            assert answer["Location"].startswith(CONFIRM_PASSWORD)

    @pytest.mark.parametrize("path", ["", "file/"])
    def test_so_do_the_recovery_codes(self, olga: Client, path: str) -> None:
        assert olga.get(RECOVERY + path).status_code == 200
        session = olga.session
        for method in session["account_authentication_methods"]:
            method["at"] -= 301
        session.save()
        assert olga.get(RECOVERY + path)["Location"].startswith(CONFIRM_PASSWORD)

    def test_a_wrong_password_there_counts_as_a_failed_sign_in(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        for _ in range(10):
            page = browser.post(CONFIRM_PASSWORD, {"password": "wrong"})
            assert b"The password is wrong" in page.content
        refused = browser.post(CONFIRM_PASSWORD, {"password": factories.PASSWORD})
        assert (refused.status_code, refused["Retry-After"]) == (429, "60")
        failures = [
            (data(event)["username"], data(event)["why"]) for event in events("SIGN_IN_FAILED")
        ]
        assert failures == [
            ("olga", "wrong password"),
            ("olga", "wrong password"),
            ("olga", "too many tries"),
        ]

    def test_sessions_from_before_end_and_this_one_goes_on(self, clock: Clock) -> None:
        browser, elsewhere = signed_in(Role.RISK_OFFICER), Client()
        sign_in(elsewhere, "olga")
        end = browser.session.get_expiry_date()
        set_up(browser, clock)
        assert _is_in(browser)
        assert browser.session.get_expiry_date() == end
        assert not _is_in(elsewhere)

    def test_the_secret_is_encrypted_and_never_shown_again(self, olga: Client, secret: str) -> None:
        stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
        assert secret not in stored
        assert secret not in json.dumps(dict(olga.session))
        assert not any(secret in event.data for event in AuditEvent.objects.all())
        for path in (SECOND_FACTOR, SET_UP, RECOVERY, f"{SECOND_FACTOR}turn-off/"):
            assert secret not in olga.get(path, follow=True).content.decode().replace(" ", "")

    def test_while_it_is_set_up_the_session_holds_it_encrypted(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        confirm_password(browser)
        secret = secret_in(browser.get(SET_UP))
        assert secret not in json.dumps(dict(browser.session))

    def test_a_second_tab_does_not_replace_the_secret(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        before = Authenticator.objects.get(type="totp").data["secret"]
        other = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        attempt = {"secret": other, "code": code_at(other, clock.now)}
        assert not services.enable(user=User.objects.get(), **attempt, origin={})
        assert olga.post(SET_UP, {"code": "1"})["Location"] == SECOND_FACTOR
        assert Authenticator.objects.get(type="totp").data["secret"] == before


class TestSigningIn:
    """The code after the password."""

    def test_only_the_code_signs_in_and_only_then_it_is_recorded(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        before = len(events("SIGNED_IN"))
        browser = half_signed_in()
        assert not _is_in(browser)
        assert len(events("SIGNED_IN")) == before
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert _is_in(browser)
        assert data(events("SIGNED_IN")[-1])["second_factor"] == "app"
        assert not browser.session.get_expire_at_browser_close()

    def test_with_the_password_alone_no_page_opens_and_no_cancel_is_accepted(
        self, olga: Client
    ) -> None:
        for path in (
            "/",
            "/poll/",
            "/requests/",
            "/cancel-all/",
            "/audit/",
            "/administration/people/",
            RECOVERY,
        ):
            browser = half_signed_in()
            assert browser.get(path)["Location"].startswith("/accounts/login/")
            assert browser.get(path, headers=HTMX).status_code == 401
        browser = half_signed_in()
        assert browser.post("/cancel-all/", {"key": "x"}, headers=HTMX).status_code == 401
        assert not Batch.objects.exists()

    def test_it_leads_back_to_the_filled_confirmation(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        browser, back = Client(), "/cancel-all/?exchange=7&reason=runaway"
        form = {"login": "olga", "password": factories.PASSWORD, "next": back}
        assert browser.post("/accounts/login/", form)["Location"] == CODE
        answer = browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert answer["Location"] == back

    @pytest.mark.parametrize("steps", [-1, 0, 1])
    def test_a_clock_that_is_one_step_off_does_no_harm(
        self, olga: Client, secret: str, clock: Clock, steps: int
    ) -> None:
        clock.next_code()
        browser = half_signed_in()
        browser.post(CODE, {"code": code_at(secret, clock.now + 30 * steps)})
        assert _is_in(browser)

    @pytest.mark.parametrize("steps", [-2, 2])
    def test_two_steps_off_is_too_far(
        self, olga: Client, secret: str, clock: Clock, steps: int
    ) -> None:
        clock.now += 300
        browser = half_signed_in()
        browser.post(CODE, {"code": code_at(secret, clock.now + 30 * steps)})
        assert not _is_in(browser)

    def test_spaces_in_a_code_do_not_matter(self, olga: Client, secret: str, clock: Clock) -> None:
        browser, code = half_signed_in(), code_at(secret, clock.now)
        browser.post(CODE, {"code": f" {code[:3]} {code[3:]} "})
        assert _is_in(browser)

    def test_a_used_code_is_refused_as_long_as_it_would_be_valid(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        code = code_at(secret, clock.now + 30)  # an app that is a little fast
        first, second, third = half_signed_in(), half_signed_in(), half_signed_in()
        first.post(CODE, {"code": code})
        assert _is_in(first)
        second.post(CODE, {"code": code})
        assert not _is_in(second)
        clock.now += 59  # allauth alone would have forgotten it by now
        third.post(CODE, {"code": code})
        assert not _is_in(third)

    def test_a_code_older_than_a_used_one_is_refused(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        older = code_at(secret, clock.now)
        first, second = half_signed_in(), half_signed_in()
        first.post(CODE, {"code": code_at(secret, clock.now + 30)})
        second.post(CODE, {"code": older})
        assert (_is_in(first), _is_in(second)) == (True, False)

    def test_the_code_that_set_it_up_is_used_up(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        browser = half_signed_in()
        browser.post(CODE, {"code": code_at(secret, clock.now - 30)})
        assert not _is_in(browser)

    def test_a_recovery_code_works_once_and_is_recorded(self, olga: Client) -> None:
        codes = recovery_codes_in(olga.get(RECOVERY))
        first, second = half_signed_in(), half_signed_in()
        first.post(CODE, {"code": codes[3]})
        second.post(CODE, {"code": codes[3]})
        assert (_is_in(first), _is_in(second)) == (True, False)
        assert data(events("SIGNED_IN")[-1])["second_factor"] == "recovery code"
        event = events(*KINDS)[-1]
        assert (event.kind, event.actor) == ("RECOVERY_CODE_USED", "Olga Ray (olga)")
        assert data(event)["left"] == 9
        assert codes[3] not in event.data
        assert codes[3] not in recovery_codes_in(olga.get(RECOVERY))

    def test_a_recovery_code_is_refused_and_not_used_up_while_its_use_cannot_be_recorded(
        self, olga: Client
    ) -> None:
        code = recovery_codes_in(olga.get(RECOVERY))[0]
        with full_log(OSError):
            browser = half_signed_in(raise_request_exception=False)
            assert browser.post(CODE, {"code": code}).status_code == 500
            assert not _is_in(browser)
        browser = half_signed_in()
        browser.post(CODE, {"code": code})
        assert _is_in(browser)

    def test_a_wrong_code_is_reported_and_counted_apart_from_wrong_passwords(
        self, olga: Client
    ) -> None:
        sign_in(Client(), "olga", "wrong")
        browser = half_signed_in()
        for _ in range(9):
            page = browser.post(CODE, {"code": "000000"})
            assert page.status_code == 200
            assert b"This code is wrong" in page.content
        failures = [(data(e)["why"], data(e)["count"]) for e in events("SIGN_IN_FAILED")]
        assert failures == [("wrong password", 1), ("wrong code", 1)]
        assert not any("000000" in event.data for event in AuditEvent.objects.all())

    def test_ten_wrong_codes_lock_the_address_and_not_the_person(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        attacker = half_signed_in(REMOTE_ADDR="192.0.2.66")
        for _ in range(10):
            assert attacker.post(CODE, {"code": "000000"}).status_code == 200
        code = code_at(secret, clock.now)
        refused = attacker.post(CODE, {"code": code})
        assert (refused.status_code, refused["Retry-After"]) == (429, "60")
        assert data(events("SIGN_IN_FAILED")[-1])["why"] == "too many tries"
        assert not _is_in(attacker)
        browser = half_signed_in()
        browser.post(CODE, {"code": code})
        assert _is_in(browser)

    def test_signing_in_oneself_does_not_buy_more_attempts_on_another_person(
        self, olga: Client
    ) -> None:
        factories.person(Role.COMPLIANCE)
        attacker = half_signed_in()
        for number in range(10):
            attacker.post(CODE, {"code": "000000"})
            if number % 4 == 3:
                assert sign_in(Client(), "carl").status_code == 302
        assert attacker.post(CODE, {"code": "000000"}).status_code == 429

    def test_right_codes_use_up_no_attempts(self, olga: Client, secret: str, clock: Clock) -> None:
        for _ in range(12):
            browser = half_signed_in()
            browser.post(CODE, {"code": code_at(secret, clock.now)})
            assert _is_in(browser)
            clock.next_code()

    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"code": ""},
            {"code": "\x00"},
            {"code": "٣" * 6},
            {"code": "1" * 10_000},
            {"credential": "{}"},
        ],
    )
    def test_no_form_without_a_code_breaks_the_page(
        self, olga: Client, form: dict[str, str]
    ) -> None:
        browser = half_signed_in()
        assert browser.post(CODE, form).status_code == 200
        assert not _is_in(browser)

    def test_without_the_password_the_page_for_the_code_leads_to_sign_in(self) -> None:
        browser = Client()
        assert browser.get(CODE)["Location"] == "/accounts/login/"
        assert browser.post(CODE, {"code": "1"})["Location"] == "/accounts/login/"

    def test_the_sign_in_page_starts_over(self, olga: Client, secret: str, clock: Clock) -> None:
        browser = half_signed_in()
        page = browser.get("/accounts/login/")
        assert b"Password" in page.content
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert not _is_in(browser)

    @pytest.mark.parametrize(
        "change",
        [
            {"password": "other"},
            {"is_active": False},
            {"session_epoch": 99},
            {"role": Role.COMPLIANCE},
        ],
        ids=str,
    )
    def test_a_sign_in_without_its_code_ends_when_the_person_is_changed(
        self, olga: Client, secret: str, clock: Clock, change: dict[str, Any]
    ) -> None:
        browser, before = half_signed_in(), len(events("SIGNED_IN"))
        User.objects.filter(username="olga").update(**change)
        answer = browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert answer["Location"] == "/accounts/login/"
        assert not _is_in(browser)
        assert len(events("SIGNED_IN")) == before

    def test_signing_out_before_the_code_is_no_error(self, olga: Client) -> None:
        browser = half_signed_in()
        assert browser.post("/accounts/logout/")["Location"] == "/accounts/login/"
        assert browser.get(CODE)["Location"] == "/accounts/login/"

    def test_a_sign_in_without_its_code_times_out(
        self, olga: Client, secret: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        browser = half_signed_in()
        session = browser.session
        session["account_login"] = session["account_login"] | {"initiated_at": 0.5}
        session.save()
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert not _is_in(browser)

    def test_signing_in_changes_the_session_key(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        browser = half_signed_in()
        before = browser.session.session_key
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert browser.session.session_key != before

    def test_with_another_secret_key_no_code_fits_and_no_page_breaks(
        self, olga: Client, secret: str, clock: Clock, settings: Any
    ) -> None:
        settings.SECRET_KEY = "another one"
        browser = half_signed_in()
        answer = browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert b"This code is wrong" in answer.content
        settings.SECRET_KEY_FALLBACKS = ["only-for-tests"]
        clock.next_code()
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert _is_in(browser)


class TestTurningOffAndRenewing:
    """Both ask for confirmation first."""

    def test_turning_off_asks_first_and_ends_the_other_sessions(
        self, olga: Client, secret: str, clock: Clock
    ) -> None:
        elsewhere = half_signed_in()
        elsewhere.post(CODE, {"code": code_at(secret, clock.now)})
        assert olga.get(f"{SECOND_FACTOR}turn-off/").status_code == 200
        assert Authenticator.objects.count() == 2
        page = olga.post(f"{SECOND_FACTOR}turn-off/", follow=True)
        assert b"is off" in page.content
        assert not Authenticator.objects.exists()
        assert events(*KINDS)[-1].kind == "SECOND_FACTOR_REMOVED"
        assert (_is_in(olga), _is_in(elsewhere)) == (True, False)
        assert sign_in(Client(), "olga")["Location"] == "/"
        olga.post(f"{SECOND_FACTOR}turn-off/")
        assert len(events("SECOND_FACTOR_REMOVED")) == 1

    def test_renewed_recovery_codes_differ_and_the_old_ones_stop_working(
        self, olga: Client
    ) -> None:
        old = recovery_codes_in(olga.get(RECOVERY))
        assert olga.get(f"{RECOVERY}renew/").status_code == 200
        assert recovery_codes_in(olga.get(RECOVERY)) == old
        fresh = recovery_codes_in(olga.post(f"{RECOVERY}renew/", follow=True))
        assert len(fresh) == 10
        assert not set(old) & set(fresh)
        assert events(*KINDS)[-1].kind == "RECOVERY_CODES_RENEWED"
        browser = half_signed_in()
        browser.post(CODE, {"code": old[0]})
        assert not _is_in(browser)
        browser.post(CODE, {"code": fresh[0]})
        assert _is_in(browser)

    def test_without_a_second_factor_there_are_no_codes_to_renew(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        confirm_password(browser)
        assert browser.post(f"{RECOVERY}renew/")["Location"] == SECOND_FACTOR
        assert browser.get(f"{RECOVERY}file/").status_code == 404
        assert not Authenticator.objects.exists()

    def test_confirming_the_password_does_not_carry_out_an_earlier_post(self, olga: Client) -> None:
        """An intruder at an unlocked screen sends it; hours later its owner enters the password."""
        old = recovery_codes_in(olga.get(RECOVERY))
        session = olga.session
        del session["account_authentication_methods"]
        session.save()
        location = olga.post(f"{RECOVERY}renew/")["Location"]
        back = parse_qs(urlsplit(location).query)["next"][0]
        page = olga.post(
            CONFIRM_PASSWORD, {"password": factories.PASSWORD, "next": back}, follow=True
        )
        assert b"Renew your recovery codes?" in page.content
        assert recovery_codes_in(olga.get(RECOVERY)) == old
        assert events("RECOVERY_CODES_RENEWED") == []

    def test_no_page_of_it_is_kept_by_a_cache(self, olga: Client) -> None:
        paths = (SECOND_FACTOR, RECOVERY, f"{RECOVERY}file/", f"{RECOVERY}renew/", CONFIRM_PASSWORD)
        for path in (*paths, f"{SECOND_FACTOR}turn-off/"):
            assert "no-store" in olga.get(path)["Cache-Control"], path
        assert "no-store" in half_signed_in().get(CODE)["Cache-Control"]


class TestRequired:
    """SECOND_FACTOR=required: no page opens without one."""

    @pytest.fixture(autouse=True)
    def _required(self, settings: Any) -> None:
        settings.SECOND_FACTOR = "required"

    @pytest.mark.parametrize(
        "path", ["/", "/requests/", "/cancel-all/", "/accounts/password/change/"]
    )
    def test_every_page_leads_to_setting_it_up(self, path: str) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        assert browser.get(path)["Location"] == SET_UP

    def test_pages_of_the_other_roles_lead_to_setting_it_up(self) -> None:
        assert signed_in(Role.ADMINISTRATOR).get("/admin/")["Location"] == SET_UP
        assert signed_in(Role.COMPLIANCE).get("/audit/export.csv")["Location"] == SET_UP

    def test_a_part_of_a_page_gets_a_status_and_the_address_to_go_to(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        for answer in (
            browser.get("/poll/", headers=HTMX),
            browser.post("/cancel-all/", {"key": "x"}, headers=HTMX),
        ):
            assert answer.status_code == 401
            assert answer["HX-Trigger"] == "session-expired"
            assert answer["X-Sign-In"].startswith("/accounts/login/")
        sign_in_page = browser.get(answer["X-Sign-In"])
        assert browser.get(sign_in_page["Location"])["Location"] == SET_UP
        assert not Batch.objects.exists()

    def test_setting_it_up_leads_back_to_the_filled_confirmation(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        form = {"exchange": "7", "reason": "runaway", "key": "x"}
        assert browser.post("/cancel-all/", form)["Location"] == SET_UP
        location = browser.get(SET_UP)["Location"]
        assert location.startswith(CONFIRM_PASSWORD)
        back = parse_qs(urlsplit(location).query)["next"][0]
        page = browser.post(
            CONFIRM_PASSWORD, {"password": factories.PASSWORD, "next": back}, follow=True
        )
        assert b"You must set up a second factor" in page.content
        codes_page = browser.post(
            SET_UP, {"code": code_at(secret_in(page), clock.now)}, follow=True
        )
        assert b'href="/cancel-all/?exchange=7&amp;reason=runaway"' in codes_page.content
        assert not Batch.objects.exists()
        assert browser.get("/accounts/password/change/").status_code == 200

    @pytest.mark.parametrize(
        "target",
        ["https://evil.example/", "//evil.example", "javascript:1", "/administration/", "/x/"],
    )
    def test_continuing_leads_nowhere_else(self, target: str, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        set_up(browser, clock)
        page = browser.get(RECOVERY, {"next": target}).content.decode()
        assert 'href="/">Continue' in page

    def test_signing_out_is_possible_without_it(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        assert browser.post("/accounts/logout/")["Location"] == "/accounts/login/"

    def test_a_person_who_has_one_works_as_usual(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        set_up(browser, clock)
        assert browser.get("/accounts/password/change/").status_code == 200

    def test_turning_it_off_leads_to_setting_it_up_again(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        set_up(browser, clock)
        browser.post(f"{SECOND_FACTOR}turn-off/")
        assert browser.get("/")["Location"] == SET_UP


def test_an_unknown_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from killswitch import env

    monkeypatch.setenv("SECOND_FACTOR", "maybe")
    with pytest.raises(ImproperlyConfigured, match="SECOND_FACTOR"):
        env.choice("SECOND_FACTOR", "optional", ("optional", "required"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["app", "recovery code"])
def test_of_many_sign_ins_with_the_same_code_at_once_one_succeeds(kind: str, clock: Clock) -> None:
    person, secret = factories.person(Role.RISK_OFFICER), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    first = code_at(secret, clock.now)
    assert services.enable(user=person, secret=secret, code=first, origin={})
    clock.next_code()
    codes = services.unused_recovery_codes(person)
    code = codes[0] if kind == "recovery code" else code_at(secret, clock.now)
    attempt = partial(services.use_code, user=person, code=code, origin={})
    results = run_at_once(*[attempt] * 6)
    assert sorted(map(str, results)) == ["None"] * 5 + [kind]
