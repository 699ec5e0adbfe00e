"""What somebody in the browser tries who is, or is not yet, one of us; and what comes of it."""

import pytest
from django.test import Client

from killswitch.accounts.models import Role
from tests.accounts.people import make, signed_in

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.both_databases,
    pytest.mark.usefixtures("limits"),
]


@pytest.fixture
def adam() -> Client:
    return signed_in(Role.ADMINISTRATOR)


@pytest.mark.parametrize(
    "query",
    [
        "password__startswith=md5",
        "password__startswith=x",
        "password__contains=$",
        "authenticator__data__contains=secret",
        "epoch__gt=0",
        "emailaddress__email=x",
        "_to_field=password",
    ],
)
def test_the_list_of_people_answers_no_question_about_what_it_does_not_show(
    adam: Client, query: str
) -> None:
    """A filter on the hash of a password would tell it, letter by letter."""
    make(Role.RISK_OFFICER)
    assert adam.get(f"/admin/accounts/user/?{query}").status_code == 400


@pytest.mark.parametrize("query", ["role__exact=COMPLIANCE", "is_active__exact=1", "q=rita", "o=1"])
def test_the_filters_that_it_offers_work(adam: Client, query: str) -> None:
    assert adam.get(f"/admin/accounts/user/?{query}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/admin/accounts/user/?q=%00",
        "/admin/accounts/user/?role__exact=%00",
        "/admin/accounts/user/?p=99999999999999999999&o=%00",
        "/admin/accounts/user/%00/change/",
        "/admin/accounts/user/99999999999999999999999/change/",
        "/admin/exchanges/exchange/?q=%00",
        "/admin/exchanges/exchange/?enabled__exact=%00",
        "/admin/exchanges/exchange/_00/change/",
        "/admin/jsi18n/?language=%00",
    ],
)
def test_no_address_of_the_admin_pages_is_an_error(adam: Client, path: str) -> None:
    adam.raise_request_exception = False
    assert adam.get(path).status_code in {200, 302, 400, 404}


@pytest.mark.parametrize(
    "value", ['"\\000aaaaaaaaaaaaaa"', "a" * 9000, "../../x", '"\\377aaaaaaaaa"']
)
def test_no_cookie_is_an_error(value: str) -> None:
    for name in ("sessionid", "csrftoken"):
        stranger = Client(raise_request_exception=False, headers={"Cookie": f"{name}={value}"})
        assert stranger.get("/").status_code == 302
        assert stranger.get("/accounts/login/").status_code == 200
