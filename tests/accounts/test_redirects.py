"""Sign-in leads back to what a person was doing, and never sends a cancel by itself."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from killswitch.accounts.models import Role
from killswitch.accounts.redirects import MAX_URL_CHARS, confirmation_url
from killswitch.cancels.models import CancelRequest
from tests import factories
from tests.accounts.people import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("limits")]


def _next(response: Any) -> str:
    location: str = response["Location"]
    return parse_qs(urlsplit(location).query).get("next", [""])[0]


def test_a_cancel_after_the_session_ended_leads_to_the_filled_confirmation() -> None:
    factories.person(Role.RISK_OFFICER)
    browser = Client()
    response = browser.post(
        "/cancel-all/?exchange=7", {"exchange": ["7", "9"], "reason": "runaway", "key": "k"}
    )
    back = _next(response)
    assert back == "/cancel-all/?exchange=7&exchange=9&reason=runaway"
    signed_in_response = browser.post(
        response["Location"], {"login": "olga", "password": factories.PASSWORD, "next": back}
    )
    assert signed_in_response["Location"] == back
    assert not CancelRequest.objects.exists()


def test_a_cancel_by_htmx_gets_the_address_of_the_sign_in() -> None:
    response = Client().post(
        "/exchanges/3/cancel-all/", {"reason": "halt"}, headers={"HX-Request": "true"}
    )
    assert response.status_code == 401
    assert parse_qs(urlsplit(response["X-Sign-In"]).query)["next"] == [
        "/exchanges/3/cancel-all/?reason=halt"
    ]


def test_a_poll_leads_back_to_its_page_and_only_to_ours() -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/requests/?before=5"}
    poll = Client().get("/", headers=headers)
    assert parse_qs(urlsplit(poll["X-Sign-In"]).query)["next"] == ["/requests/?before=5"]
    elsewhere = Client().get("/", headers=headers | {"HX-Current-URL": "https://evil.example/x"})
    assert elsewhere["X-Sign-In"] == "/accounts/login/"


def test_a_page_is_kept_with_its_query() -> None:
    assert _next(Client().get("/cancel-all/?exchange=1&exchange=2")) == (
        "/cancel-all/?exchange=1&exchange=2"
    )


def test_a_target_too_long_to_keep_is_dropped_whole_and_never_becomes_another() -> None:
    many = [str(number) for number in range(10**6, 10**6 + 800)]
    for response in (
        Client().post("/cancel-all/", {"exchange": many, "reason": "x"}),
        Client().get("/cancel-all/?" + "&".join(f"exchange={pk}" for pk in many)),
    ):
        assert response["Location"] == "/accounts/login/"


@given(
    exchanges=st.lists(st.text(max_size=60), max_size=80),
    reason=st.text(max_size=3000),
)
def test_all_exchanges_come_back_or_no_page_at_all(exchanges: list[str], reason: str) -> None:
    request = RequestFactory().post("/cancel-all/")
    post = request.POST.copy()
    post.setlist("exchange", [pk.encode("utf-8", "replace").decode() for pk in exchanges])
    post["reason"] = reason.encode("utf-8", "replace").decode()
    request.POST = post  # type: ignore[assignment]
    url = confirmation_url(request)
    assert len(url) <= MAX_URL_CHARS
    if url:
        pks = parse_qs(urlsplit(url).query, keep_blank_values=True).get("exchange", [])
        assert pks == list(dict.fromkeys(post.getlist("exchange")))


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/", "http://testserver.evil/", "javascript:1"],
)
def test_sign_in_leads_nowhere_else(target: str) -> None:
    factories.person(Role.RISK_OFFICER)
    response = Client().post(
        "/accounts/login/", {"login": "olga", "password": factories.PASSWORD, "next": target}
    )
    assert response["Location"] == "/"


@pytest.mark.parametrize(
    ("role", "page"), [(Role.ADMINISTRATOR, "/administration/"), (Role.COMPLIANCE, "/")]
)
def test_each_role_lands_on_its_page_also_when_sent_from_one_it_may_not_see(
    role: Role, page: str
) -> None:
    factories.person(role)
    for target in ("", "/cancel-all/", "/no/such/page/"):
        response = Client().post(
            "/accounts/login/",
            {"login": factories.NAMES[role][0], "password": factories.PASSWORD, "next": target},
        )
        assert response["Location"] == page


def test_a_person_who_is_signed_in_already_is_led_on() -> None:
    browser = signed_in(Role.ADMINISTRATOR)
    assert browser.get("/accounts/login/?next=/cancel-all/")["Location"] == "/administration/"
    assert browser.get("/accounts/login/?next=/administration/people/")["Location"] == (
        "/administration/people/"
    )
