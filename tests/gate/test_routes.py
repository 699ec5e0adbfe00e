"""Every address of the product has a lane, and what a cancel needs is apart from the rest."""

from collections.abc import Iterable, Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from killswitch.gate.routes import LANE_OF_URL_NAME, URL_NAMES, LaneName, lane_of

UUID = "00000000-0000-4000-8000-000000000000"


def url_names(patterns: Iterable[URLPattern | URLResolver], *, space: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{space}{pattern.namespace}:" if pattern.namespace else space
            yield from url_names(pattern.url_patterns, space=inner)
        elif pattern.name:
            yield f"{space}{pattern.name}"


def test_each_url_pattern_is_in_one_lane() -> None:
    names = list(url_names(get_resolver().url_patterns))
    assert sorted(names) == sorted(name for lane in URL_NAMES.values() for name in lane)
    assert len(LANE_OF_URL_NAME) == len(names)


@pytest.mark.parametrize(
    ("path", "lane"),
    [
        ("/cancel-all/", LaneName.CANCEL),
        ("/exchanges/7/cancel-all/", LaneName.CANCEL),
        ("/exchanges/7/hold/", LaneName.CANCEL),
        ("/break-glass/", LaneName.BREAK_GLASS),
        (f"/break-glass/{UUID}/", LaneName.BREAK_GLASS),
        (f"/batches/{UUID}/", LaneName.CONSOLE),
        ("/alarms/acknowledge/", LaneName.CONSOLE),
        ("/poll/", LaneName.POLL),
        ("/audit/export.jsonl", LaneName.EXPORT),
        ("/requests/export.csv", LaneName.EXPORT),
        ("/accounts/login/", LaneName.SIGN_IN),
        ("/healthz", LaneName.PROBE),
        ("/static/css/console.css", LaneName.FILE),
        ("/admin/anything/", LaneName.PAGE),
        ("/cancel-all/x", LaneName.PAGE),
        ("*", LaneName.PAGE),
        ("", LaneName.PAGE),
        (f"/exchanges/{'9' * 5000}/cancel-all/", LaneName.PAGE),
    ],
)
def test_the_lane_of_an_address(path: str, lane: LaneName) -> None:
    assert lane_of("POST", path) is lane


def test_the_question_before_a_cancel_does_not_take_the_place_of_one() -> None:
    for path in ("/cancel-all/", "/exchanges/7/cancel-all/", "/exchanges/7/hold/"):
        for method in ("GET", "HEAD", "OPTIONS"):
            assert lane_of(method, path) is LaneName.CONFIRMATION
