"""Commands that people are told to type."""

from datetime import date

from crypto_quant.commands import backfill, repair

DAY = date(2026, 10, 1)


def test_what_holds_anyway_is_left_out() -> None:
    assert repair("spot", "btcusdt") == "crypto-quant repair btcusdt"
    assert backfill("spot", "btcusdt", first=DAY, last=DAY) == (
        "crypto-quant backfill btcusdt --from 2026-10-01 --to 2026-10-01"
    )


def test_another_market_is_named() -> None:
    told = repair("usdm", "btcusdt", "ethusdt", first=DAY, last="2026-10-02", deep=True)
    assert told == "crypto-quant repair btcusdt ethusdt --venue usdm --from 2026-10-01 --to 2026-10-02 --deep"
    told = backfill("coinm", "btcusd_perp", first=DAY, last=DAY, timeframe="1m")
    assert told == (
        "crypto-quant backfill btcusd_perp --venue coinm --stream kline_1m --from 2026-10-01 --to 2026-10-01"
    )


def test_a_symbol_can_do_nothing_to_a_shell() -> None:
    assert repair("spot", "x;rm -rf ~") == "crypto-quant repair 'x;rm -rf ~'"
    assert backfill("spot", "$(x)", first=DAY, last=DAY).startswith("crypto-quant backfill '$(x)' --from")
