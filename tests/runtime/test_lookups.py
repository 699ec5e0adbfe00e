"""Finding a text in any case of its letters."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from killswitch.cancels.models import Batch
from killswitch.runtime.lookups import InAnyCase
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

TEXTS = (
    "Drill: KÖLN 50%",
    "drill: köln_",
    "ΟΔΟΣ οδός",
    "Привет, МИР",
    "漢字かな",
    "a*b[c]?^-\\d'\"%_ö",
    "plain ASCII",
    "🛑 stop",
)


def contain(text: str) -> list[str]:
    wanted = {f"reason__{InAnyCase.lookup_name}": text}
    return list(Batch.objects.filter(**wanted).order_by("id").values_list("reason", flat=True))


@pytest.mark.parametrize(
    "text",
    [
        *("Köln", "KÖLN", "kÖLn 5", "öl", "οδοσ", "ΌΣ", "δοσ όδ", "мир", "ПРИВЕТ", "字か", "🛑"),
        *(
            "*b[c]?^-\\d'\"%_ö",
            "*ö",
            "[öÖ]",
            "ö]",
            "?ö",
            "^ö",
            "%ö",
            "_Ö",
            "ö*",
            "plain ascii",
            "🛑",
        ),
        *("*", "?", "[", "]", "%", "_", "\\"),
    ],
)
def test_a_text_is_found_in_any_case_and_has_no_wildcards(text: str) -> None:
    for number, reason in enumerate(TEXTS):
        Batch.objects.create(
            key=f"{number}", by_name="x", by_role="x", asked_at=factories.observe(), reason=reason
        )
    assert contain(text) == [known for known in TEXTS if text.casefold() in known.casefold()]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "such",
            "SUCH",
            "\u017fuch",
            "ilik",
            "\u0131LIK",
            "k",
            "\u212a",
            "ß",
            "ss",
            "Ö",
            "ö",
            "plain ASCII",
        ),
        *("%", "_", "\\", "\\u00e9", '"', '\\"', "'", "a%b", "a_b", "", " "),
    ],
)
def test_many_rows_contain_what_icontains_finds(text: str) -> None:
    texts = (
        *(
            "no such words",
            "no \u017fuch word\u017f",
            "YANLIŞ \u0131l\u0131k",
            "ilik",
            "100 \u212a",
            "100 k",
            "Straße",
        ),
        *("STRASSE", "a%b", "aXb", "a_b", '\\"quoted\\"', "it's", "caf\\u00e9", *TEXTS),
    )
    for number, reason in enumerate(texts):
        Batch.objects.create(
            key=f"{number}", by_name="x", by_role="x", asked_at=factories.observe(), reason=reason
        )
    found = Batch.objects.order_by("id").values_list("reason", flat=True)
    assert [*found.filter(reason__icontains_in_many=text)] == [
        *found.filter(reason__icontains=text)
    ]


def test_sqlite_calls_no_function_of_python_for_each_row() -> None:
    with CaptureQueriesContext(connection) as captured:
        contain("köln")
    (query,) = captured
    assert connection.vendor != "sqlite" or "REGEXP" not in query["sql"]
