"""`KILLSWITCH_EXCHANGES` is a list by white space; what looks like another list is said."""

from typing import Any

import pytest

from killswitch.exchanges.models import Exchange
from killswitch.supervision import listing, prepare, startup_banner
from killswitch.supervision.errors import CannotStart


@pytest.mark.parametrize(
    "mistake",
    ['"KRAKEN', "BINANCE'", "KRAKEN,", ";BINANCE", "KRAKEN,,BINANCE", "KRAKEN/JOHN;", ","],
)
def test_what_is_surely_no_id_is_refused_with_a_hint(mistake: str) -> None:
    with pytest.raises(CannotStart, match=r"^KILLSWITCH_EXCHANGES: .*separate them by white space"):
        listing.check(["OKEX", mistake])


@pytest.mark.parametrize("doubtful", ["KRAKEN,BINANCE", "KRAKEN;BINANCE;OKEX", "FTX,B2C2"])
def test_what_may_be_several_ids_or_one_with_a_tag_is_said_and_not_refused(doubtful: str) -> None:
    listing.check([doubtful])
    (words,) = listing.warnings(["OKEX", doubtful])
    assert words.startswith(f"KILLSWITCH_EXCHANGES: {doubtful} is one exchange id")
    assert "separate them by white space" in words


@pytest.mark.parametrize("plain", ["KRAKEN", "KRAKEN/JOHN", "KRAKEN,john", "KRAKEN,A1", "okx:a;b"])
def test_a_plain_tag_is_taken_without_a_word(plain: str) -> None:
    listing.check([plain])
    assert listing.warnings([plain]) == []


@pytest.mark.django_db(transaction=True)
def test_preparing_refuses_a_mistake_before_it_adds_anything(settings: Any) -> None:
    settings.KILLSWITCH_EXCHANGES = ("KRAKEN", '"BINANCE"')
    with pytest.raises(CannotStart, match="KILLSWITCH_EXCHANGES"):
        prepare.prepare()
    assert not Exchange.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_doubt_is_in_the_log_and_in_what_the_start_prints(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.KILLSWITCH_EXCHANGES = ("KRAKEN,BINANCE",)
    prepare.prepare()
    assert caplog.text.count("KRAKEN,BINANCE is one exchange id") == 1
    assert "KRAKEN,BINANCE is one exchange id" in startup_banner.text([])
