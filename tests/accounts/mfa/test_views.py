"""The second factor: without the code nothing opens, and no code opens anything twice."""

import json
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from django.db import connection
from django.test import Client

from killswitch.accounts.mfa import services
from killswitch.accounts.models import Role, User
from killswitch.audit.models import AuditEvent
from killswitch.cancels.models import Batch
from tests.accounts.mfa.codes import (
    AGAIN,
    CODE,
    RECOVERY,
    SECOND_FACTOR,
    SET_UP,
    Clock,
    code_at,
    confirm_password,
    recovery_codes_in,
    secret_in,
    set_up,
)
from tests.accounts.people import PASSWORD, events, make, sign_in, signed_in

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.both_databases,
    pytest.mark.usefixtures("limits"),
]
KINDS = (
    "SECOND_FACTOR_ADDED",
    "SECOND_FACTOR_REMOVED",
    "SECOND_FACTOR_RESET",
    "RECOVERY_CODES_RENEWED",
    "RECOVERY_CODE_USED",
)
HTMX = {"HX-Request": "true"}


@pytest.fixture
def rita(clock: Clock) -> Client:
    """The browser in which a risk officer has set up a second factor."""
    browser = signed_in(Role.RISK_OFFICER)
    browser.secret = set_up(browser, clock)  # type: ignore[attr-defined]
    return browser


@pytest.fixture
def secret(rita: Client) -> str:
    found: str = rita.secret  # type: ignore[attr-defined]
    return found


def _data(event: AuditEvent) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(event.data)
    return data


def _half(username: str = "rita", **extra: Any) -> Client:
    """A browser in which only the password was given."""
    browser = Client(**extra)
    assert sign_in(browser, username)["Location"] == CODE
    return browser


def _is_in(browser: Client) -> bool:
    return browser.get(SECOND_FACTOR).status_code == 200


class TestSettingUp:
    """From the menu to ten recovery codes."""

    def test_the_app_of_the_tests_is_the_one_of_the_standard(self) -> None:
        secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        shown = [code_at(secret, now) for now in (59, 1111111109, 20000000000)]
        assert shown == ["287082", "081804", "353130"]

    def test_a_person_sets_it_up_and_gets_ten_codes_as_page_and_as_file(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        assert b"second factor is off" in browser.get(SECOND_FACTOR).content
        confirm_password(browser)
        page = browser.get(SET_UP)
        assert b"data:" not in page.content
        assert b'role="img"' in page.content
        sent = {"code": code_at(secret_in(page), clock.now)}
        shown = browser.post(SET_UP, sent, follow=True)
        assert shown.request["PATH_INFO"] == RECOVERY
        codes = recovery_codes_in(shown)
        assert len(set(codes)) == 10
        file = browser.get(f"{RECOVERY}file/")
        assert file.content.decode().split() == codes
        assert file["Content-Disposition"].startswith("attachment")
        (event,) = events(*KINDS)
        assert (event.kind, event.actor) == ("SECOND_FACTOR_ADDED", "Rita Moss (rita)")
        assert _data(event)["username"] == "rita"
        assert _data(event)["address"] == "127.0.0.1"

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
    def test_every_change_needs_the_password_of_a_moment_ago(self, path: str) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        for answer in (browser.get(SECOND_FACTOR + path), browser.post(SECOND_FACTOR + path)):
            assert answer["Location"].startswith(AGAIN)

    @pytest.mark.parametrize("path", ["", "file/"])
    def test_so_do_the_recovery_codes(self, rita: Client, path: str) -> None:
        session = rita.session
        del session["account_authentication_methods"]
        session.save()
        assert rita.get(RECOVERY + path)["Location"].startswith(AGAIN)

    def test_a_wrong_password_there_counts_as_a_failed_sign_in(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        for _ in range(10):
            page = browser.post(AGAIN, {"password": "wrong"})
            assert b"not your password" in page.content
        refused = browser.post(AGAIN, {"password": PASSWORD})
        assert (refused.status_code, refused["Retry-After"]) == (429, "60")
        said = [
            (_data(event)["username"], _data(event)["why"]) for event in events("SIGN_IN_FAILED")
        ]
        assert said == [
            ("rita", "wrong password"),
            ("rita", "wrong password"),
            ("rita", "too many tries"),
        ]

    def test_sessions_from_before_end_and_this_one_goes_on(self, clock: Clock) -> None:
        browser, elsewhere = signed_in(Role.RISK_OFFICER), Client()
        sign_in(elsewhere, "rita")
        end = browser.session.get_expiry_date()
        set_up(browser, clock)
        assert _is_in(browser)
        assert browser.session.get_expiry_date() == end
        assert not _is_in(elsewhere)

    def test_the_secret_is_sealed_and_never_shown_again(self, rita: Client, secret: str) -> None:
        stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
        assert secret not in stored
        assert secret not in json.dumps(dict(rita.session))
        assert not any(secret in event.data for event in AuditEvent.objects.all())
        for path in (SECOND_FACTOR, SET_UP, RECOVERY, f"{SECOND_FACTOR}turn-off/"):
            assert secret not in rita.get(path, follow=True).content.decode().replace(" ", "")

    def test_while_it_is_set_up_the_session_holds_it_sealed(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        confirm_password(browser)
        secret = secret_in(browser.get(SET_UP))
        assert secret not in json.dumps(dict(browser.session))

    def test_a_second_tab_does_not_put_another_secret_in_its_place(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        before = Authenticator.objects.get(type="totp").data["secret"]
        other = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        sent = {"secret": other, "code": code_at(other, clock.now)}
        assert not services.enable(user=User.objects.get(), **sent, origin={})
        assert rita.post(SET_UP, {"code": "1"})["Location"] == SECOND_FACTOR
        assert Authenticator.objects.get(type="totp").data["secret"] == before


class TestSigningIn:
    """The code after the password."""

    def test_only_the_code_signs_in_and_only_then_it_is_recorded(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        before = len(events("SIGNED_IN"))
        browser = _half()
        assert not _is_in(browser)
        assert len(events("SIGNED_IN")) == before
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert _is_in(browser)
        assert _data(events("SIGNED_IN")[-1])["second_factor"] == "app"
        assert not browser.session.get_expire_at_browser_close()

    def test_with_the_password_alone_nothing_can_be_pressed_polled_or_read(
        self, rita: Client
    ) -> None:
        for path in ("/", "/poll/", "/requests/", "/cancel-all/", "/audit/", "/admin/", RECOVERY):
            browser = _half()
            assert browser.get(path)["Location"].startswith("/accounts/login/")
            assert browser.get(path, headers=HTMX).status_code == 401
        browser = _half()
        assert browser.post("/cancel-all/", {"key": "x"}, headers=HTMX).status_code == 401
        assert not Batch.objects.exists()

    def test_it_leads_back_to_the_filled_confirmation(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        browser, back = Client(), "/cancel-all/?exchange=7&reason=runaway"
        sent = {"login": "rita", "password": PASSWORD, "next": back}
        assert browser.post("/accounts/login/", sent)["Location"] == CODE
        answer = browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert answer["Location"] == back

    @pytest.mark.parametrize("steps", [-1, 0, 1])
    def test_a_clock_that_is_one_step_off_does_no_harm(
        self, rita: Client, secret: str, clock: Clock, steps: int
    ) -> None:
        clock.next_code()
        browser = _half()
        browser.post(CODE, {"code": code_at(secret, clock.now + 30 * steps)})
        assert _is_in(browser)

    @pytest.mark.parametrize("steps", [-2, 2])
    def test_two_steps_off_is_too_far(
        self, rita: Client, secret: str, clock: Clock, steps: int
    ) -> None:
        clock.now += 300
        browser = _half()
        browser.post(CODE, {"code": code_at(secret, clock.now + 30 * steps)})
        assert not _is_in(browser)

    def test_spaces_in_a_code_do_not_matter(self, rita: Client, secret: str, clock: Clock) -> None:
        browser, code = _half(), code_at(secret, clock.now)
        browser.post(CODE, {"code": f" {code[:3]} {code[3:]} "})
        assert _is_in(browser)

    def test_a_used_code_opens_nothing_however_long_it_is_good_for(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        code = code_at(secret, clock.now + 30)  # an app that is a little fast
        first, second, third = _half(), _half(), _half()
        first.post(CODE, {"code": code})
        assert _is_in(first)
        second.post(CODE, {"code": code})
        assert not _is_in(second)
        clock.now += 59  # allauth alone would have forgotten it by now
        third.post(CODE, {"code": code})
        assert not _is_in(third)

    def test_nor_does_one_from_before_a_used_one(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        older = code_at(secret, clock.now)
        first, second = _half(), _half()
        first.post(CODE, {"code": code_at(secret, clock.now + 30)})
        second.post(CODE, {"code": older})
        assert (_is_in(first), _is_in(second)) == (True, False)

    def test_the_code_of_the_setting_up_is_used_up(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        browser = _half()
        browser.post(CODE, {"code": code_at(secret, clock.now - 30)})
        assert not _is_in(browser)

    def test_a_recovery_code_works_once_and_is_recorded(self, rita: Client) -> None:
        codes = recovery_codes_in(rita.get(RECOVERY))
        first, second = _half(), _half()
        first.post(CODE, {"code": codes[3]})
        second.post(CODE, {"code": codes[3]})
        assert (_is_in(first), _is_in(second)) == (True, False)
        assert _data(events("SIGNED_IN")[-1])["second_factor"] == "recovery code"
        event = events(*KINDS)[-1]
        assert (event.kind, event.actor) == ("RECOVERY_CODE_USED", "Rita Moss (rita)")
        assert _data(event)["left"] == 9
        assert codes[3] not in event.data
        assert codes[3] not in recovery_codes_in(rita.get(RECOVERY))

    def test_a_recovery_code_whose_use_cannot_be_recorded_opens_nothing_and_is_not_used_up(
        self, rita: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = recovery_codes_in(rita.get(RECOVERY))[0]

        def full(*_: object) -> None:
            raise OSError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr("killswitch.audit.chain.append", full)
            browser = _half(raise_request_exception=False)
            assert browser.post(CODE, {"code": code}).status_code == 500
            assert not _is_in(browser)
        browser = _half()
        browser.post(CODE, {"code": code})
        assert _is_in(browser)

    def test_a_wrong_code_says_so_and_is_counted_apart_from_wrong_passwords(
        self, rita: Client
    ) -> None:
        sign_in(Client(), "rita", "wrong")
        browser = _half()
        for _ in range(9):
            page = browser.post(CODE, {"code": "000000"})
            assert page.status_code == 200
            assert b"This code is wrong" in page.content
        said = [(_data(each)["why"], _data(each)["count"]) for each in events("SIGN_IN_FAILED")]
        assert said == [("wrong password", 1), ("wrong code", 1)]
        assert not any("000000" in event.data for event in AuditEvent.objects.all())

    def test_ten_wrong_codes_lock_the_address_and_not_the_person(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        attacker = _half(REMOTE_ADDR="192.0.2.66")
        for _ in range(10):
            assert attacker.post(CODE, {"code": "000000"}).status_code == 200
        code = code_at(secret, clock.now)
        refused = attacker.post(CODE, {"code": code})
        assert (refused.status_code, refused["Retry-After"]) == (429, "60")
        assert _data(events("SIGN_IN_FAILED")[-1])["why"] == "too many tries"
        assert not _is_in(attacker)
        browser = _half()
        browser.post(CODE, {"code": code})
        assert _is_in(browser)

    def test_signing_in_oneself_does_not_buy_more_tries_at_somebody_else(
        self, rita: Client
    ) -> None:
        make(Role.COMPLIANCE)
        attacker = _half()
        for number in range(10):
            attacker.post(CODE, {"code": "000000"})
            if number % 4 == 3:
                assert sign_in(Client(), "carol").status_code == 302
        assert attacker.post(CODE, {"code": "000000"}).status_code == 429

    def test_right_codes_use_up_no_tries(self, rita: Client, secret: str, clock: Clock) -> None:
        for _ in range(12):
            browser = _half()
            browser.post(CODE, {"code": code_at(secret, clock.now)})
            assert _is_in(browser)
            clock.next_code()

    @pytest.mark.parametrize(
        "sent",
        [
            {},
            {"code": ""},
            {"code": "\x00"},
            {"code": "٣" * 6},
            {"code": "1" * 10_000},
            {"credential": "{}"},
        ],
    )
    def test_nothing_that_is_sent_instead_of_a_code_breaks_the_page(
        self, rita: Client, sent: dict[str, str]
    ) -> None:
        browser = _half()
        assert browser.post(CODE, sent).status_code == 200
        assert not _is_in(browser)

    def test_without_the_password_there_is_nothing_to_give_a_code_to(self) -> None:
        browser = Client()
        assert browser.get(CODE)["Location"] == "/accounts/login/"
        assert browser.post(CODE, {"code": "1"})["Location"] == "/accounts/login/"

    def test_the_sign_in_page_begins_again(self, rita: Client, secret: str, clock: Clock) -> None:
        browser = _half()
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
    def test_half_a_sign_in_ends_when_the_persons_standing_changes(
        self, rita: Client, secret: str, clock: Clock, change: dict[str, Any]
    ) -> None:
        browser, before = _half(), len(events("SIGNED_IN"))
        User.objects.filter(username="rita").update(**change)
        answer = browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert answer["Location"] == "/accounts/login/"
        assert not _is_in(browser)
        assert len(events("SIGNED_IN")) == before

    def test_signing_out_half_way_is_no_error(self, rita: Client) -> None:
        browser = _half()
        assert browser.post("/accounts/logout/")["Location"] == "/accounts/login/"
        assert browser.get(CODE)["Location"] == "/accounts/login/"

    def test_half_a_sign_in_does_not_last(
        self, rita: Client, secret: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        browser = _half()
        session = browser.session
        session["account_login"] = session["account_login"] | {"initiated_at": 0.5}
        session.save()
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert not _is_in(browser)

    def test_the_session_that_was_there_before_is_not_the_one_that_is_signed_in(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        browser = _half()
        before = browser.session.session_key
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert browser.session.session_key != before

    def test_with_another_secret_key_no_code_fits_and_no_page_breaks(
        self, rita: Client, secret: str, clock: Clock, settings: Any
    ) -> None:
        settings.SECRET_KEY = "another one"
        browser = _half()
        answer = browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert b"This code is wrong" in answer.content
        settings.SECRET_KEY_FALLBACKS = ["only-for-tests"]
        clock.next_code()
        browser.post(CODE, {"code": code_at(secret, clock.now)})
        assert _is_in(browser)


class TestTurningOffAndRenewing:
    """Each asks first."""

    def test_turning_off_asks_first_and_ends_the_other_sessions(
        self, rita: Client, secret: str, clock: Clock
    ) -> None:
        elsewhere = _half()
        elsewhere.post(CODE, {"code": code_at(secret, clock.now)})
        assert rita.get(f"{SECOND_FACTOR}turn-off/").status_code == 200
        assert Authenticator.objects.count() == 2
        page = rita.post(f"{SECOND_FACTOR}turn-off/", follow=True)
        assert b"is off" in page.content
        assert not Authenticator.objects.exists()
        assert events(*KINDS)[-1].kind == "SECOND_FACTOR_REMOVED"
        assert (_is_in(rita), _is_in(elsewhere)) == (True, False)
        assert sign_in(Client(), "rita")["Location"] == "/"
        rita.post(f"{SECOND_FACTOR}turn-off/")
        assert len(events("SECOND_FACTOR_REMOVED")) == 1

    def test_renewed_recovery_codes_are_others_and_the_old_ones_void(self, rita: Client) -> None:
        old = recovery_codes_in(rita.get(RECOVERY))
        assert rita.get(f"{RECOVERY}renew/").status_code == 200
        assert recovery_codes_in(rita.get(RECOVERY)) == old
        fresh = recovery_codes_in(rita.post(f"{RECOVERY}renew/", follow=True))
        assert len(fresh) == 10
        assert not set(old) & set(fresh)
        assert events(*KINDS)[-1].kind == "RECOVERY_CODES_RENEWED"
        browser = _half()
        browser.post(CODE, {"code": old[0]})
        assert not _is_in(browser)
        browser.post(CODE, {"code": fresh[0]})
        assert _is_in(browser)

    def test_there_is_nothing_to_renew_without_one(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        confirm_password(browser)
        assert browser.post(f"{RECOVERY}renew/")["Location"] == SECOND_FACTOR
        assert browser.get(f"{RECOVERY}file/").status_code == 404
        assert not Authenticator.objects.exists()

    def test_what_was_sent_before_the_password_was_asked_again_is_not_done_by_giving_it(
        self, rita: Client
    ) -> None:
        """Somebody at an open screen sends it; hours later its owner gives the password."""
        old = recovery_codes_in(rita.get(RECOVERY))
        session = rita.session
        del session["account_authentication_methods"]
        session.save()
        asked = rita.post(f"{RECOVERY}renew/")["Location"]
        back = parse_qs(urlsplit(asked).query)["next"][0]
        page = rita.post(AGAIN, {"password": PASSWORD, "next": back}, follow=True)
        assert b"Renew your recovery codes?" in page.content
        assert recovery_codes_in(rita.get(RECOVERY)) == old
        assert events("RECOVERY_CODES_RENEWED") == []

    def test_no_page_of_it_is_kept_by_a_cache(self, rita: Client) -> None:
        paths = (SECOND_FACTOR, RECOVERY, f"{RECOVERY}file/", f"{RECOVERY}renew/", AGAIN)
        for path in (*paths, f"{SECOND_FACTOR}turn-off/"):
            assert "no-store" in rita.get(path)["Cache-Control"], path
        assert "no-store" in _half().get(CODE)["Cache-Control"]


class TestRequired:
    """SECOND_FACTOR=required: nobody works without one."""

    @pytest.fixture(autouse=True)
    def _required(self, settings: Any) -> None:
        settings.SECOND_FACTOR = "required"

    @pytest.mark.parametrize(
        "path", ["/", "/requests/", "/cancel-all/", "/accounts/password/change/"]
    )
    def test_every_page_leads_to_setting_it_up(self, path: str) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        assert browser.get(path)["Location"] == SET_UP

    def test_so_do_the_pages_of_the_others(self) -> None:
        assert signed_in(Role.ADMINISTRATOR).get("/admin/")["Location"] == SET_UP
        assert signed_in(Role.COMPLIANCE).get("/audit/export.csv")["Location"] == SET_UP

    def test_a_part_of_a_page_gets_a_status_and_the_way(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        for answer in (
            browser.get("/poll/", headers=HTMX),
            browser.post("/cancel-all/", {"key": "x"}, headers=HTMX),
        ):
            assert answer.status_code == 401
            assert answer["HX-Trigger"] == "session-expired"
            assert answer["X-Sign-In"].startswith("/accounts/login/")
        led = browser.get(answer["X-Sign-In"])
        assert browser.get(led["Location"])["Location"] == SET_UP
        assert not Batch.objects.exists()

    def test_setting_it_up_leads_back_to_the_filled_confirmation(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        sent = {"exchange": "7", "reason": "runaway", "key": "x"}
        assert browser.post("/cancel-all/", sent)["Location"] == SET_UP
        asked = browser.get(SET_UP)["Location"]
        assert asked.startswith(AGAIN)
        back = parse_qs(urlsplit(asked).query)["next"][0]
        page = browser.post(AGAIN, {"password": PASSWORD, "next": back}, follow=True)
        assert b"You need a second factor" in page.content
        shown = browser.post(SET_UP, {"code": code_at(secret_in(page), clock.now)}, follow=True)
        assert b'href="/cancel-all/?exchange=7&amp;reason=runaway"' in shown.content
        assert not Batch.objects.exists()
        assert browser.get("/accounts/password/change/").status_code == 200

    @pytest.mark.parametrize(
        "target", ["https://evil.example/", "//evil.example", "javascript:1", "/admin/", "/x/"]
    )
    def test_going_on_leads_nowhere_else(self, target: str, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        set_up(browser, clock)
        page = browser.get(RECOVERY, {"next": target}).content.decode()
        assert 'href="/">Continue' in page

    def test_signing_out_is_possible_without_it(self) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        assert browser.post("/accounts/logout/")["Location"] == "/accounts/login/"

    def test_whoever_has_one_works_as_usual(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        set_up(browser, clock)
        assert browser.get("/accounts/password/change/").status_code == 200

    def test_turning_it_off_leads_to_setting_it_up_again(self, clock: Clock) -> None:
        browser = signed_in(Role.RISK_OFFICER)
        set_up(browser, clock)
        browser.post(f"{SECOND_FACTOR}turn-off/")
        assert browser.get("/")["Location"] == SET_UP


def test_what_is_not_known_as_a_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from killswitch import env

    monkeypatch.setenv("SECOND_FACTOR", "maybe")
    with pytest.raises(ImproperlyConfigured, match="SECOND_FACTOR"):
        env.choice("SECOND_FACTOR", "optional", ("optional", "required"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["app", "recovery code"])
def test_of_many_who_type_the_same_code_at_once_one_is_let_in(kind: str, clock: Clock) -> None:
    person, secret = make(Role.RISK_OFFICER), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    first = code_at(secret, clock.now)
    assert services.enable(user=person, secret=secret, code=first, origin={})
    clock.next_code()
    codes = services.unused_recovery_codes(person)
    code = codes[0] if kind == "recovery code" else code_at(secret, clock.now)
    together, found = threading.Barrier(6), []

    def check() -> None:
        together.wait(timeout=10)
        found.append(services.use_code(user=person, code=code, origin={}))
        connection.close()

    threads = [threading.Thread(target=check) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(map(str, found)) == ["None"] * 5 + [kind]
