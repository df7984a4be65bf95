"""A start whose symbols cannot be checked: what is recorded all the same, and what is told when they can be."""

import asyncio
import json
import random

import pytest
from flow_doubles import Journal, ScriptedHttp

from crypto_quant import events
from crypto_quant.binance.venues import venue_spec
from crypto_quant.config import Settings
from crypto_quant.errors import ConfigError, ExchangeUnavailable, Throttled
from crypto_quant.flow import symbols as symbols_module
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.symbols import SymbolCheck, known_symbols, unchecked_symbols
from crypto_quant.market import Venue
from crypto_quant.seams import HttpAnswer

BAN = HttpAnswer(418, {"retry-after": "7200"}, b'{"code":-1003,"msg":"banned"}')
AWAY = Throttled("banned by the exchange for a while", retry_after_s=7200.0, subject="exchangeInfo: HTTP 418")
GONE = ExchangeUnavailable("no answer (refused)", subject="http://x")


def listing(**symbols: str) -> HttpAnswer:
    listed = [{"symbol": name, "status": status} for name, status in symbols.items()]
    return HttpAnswer(200, {}, json.dumps({"serverTime": 1_790_856_000_000, "symbols": listed}).encode())


def asking(*answers: HttpAnswer | BaseException) -> tuple[ExchangeRest, Journal, ScriptedHttp]:
    journal, http = Journal(), ScriptedHttp(*answers)
    return ExchangeRest(venue_spec(Venue.SPOT), "http://x", http, journal, random.Random(1)), journal, http  # noqa: S311


@pytest.mark.parametrize(("retry_after", "asked"), [("7200", 1), ("259200", 1), ("6", 1), ("0", 4)])
async def test_a_ban_is_not_waited_for_and_asked_for_once(retry_after: str, asked: int) -> None:
    rest, journal, http = asking(HttpAnswer(429, {"retry-after": retry_after}, b"{}"))
    with pytest.raises(Throttled) as caught:
        await known_symbols(Settings(symbols=("BTCUSDT",)), rest, journal, patience_s=5)
    assert caught.value.retry_after_s == float(retry_after)
    assert len(http.asked) == asked
    assert journal.of(events.RestFailed)[-1].retry_in_s is None


async def test_a_short_pause_is_waited_for() -> None:
    rest, journal, http = asking(HttpAnswer(429, {"retry-after": "0"}, b"{}"), listing(BTCUSDT="TRADING"))
    assert await known_symbols(Settings(symbols=("BTCUSDT",)), rest, journal, 5) == (
        ["btcusdt"], 1_790_856_000_000_000_000
    )  # fmt: skip
    assert len(http.asked) == 2


def test_during_a_ban_all_are_recorded_and_the_new_ones_are_named() -> None:
    journal = Journal()
    wanted = Settings(symbols=("BTCUSDT", "btcusdt", "ETHUSDT"))
    assert unchecked_symbols(wanted, {"btcusdt"}, AWAY, journal) == ["btcusdt", "ethusdt"]
    (told,) = journal.of(events.SymbolsUnchecked)
    assert (told.symbols, told.new, told.retry_in_s) == (2, "ethusdt", 7200.0)
    assert "banned" in told.cause


def test_without_any_answer_only_what_was_recorded_before_begins() -> None:
    journal = Journal()
    wanted = Settings(symbols=("BTCUSDT", "ETHUSDT"))
    assert unchecked_symbols(wanted, {"btcusdt", "ethusdt"}, GONE, journal) == ["btcusdt", "ethusdt"]
    assert journal.of(events.SymbolsUnchecked)[0].new == ""
    with pytest.raises(ExchangeUnavailable):
        unchecked_symbols(wanted, {"btcusdt"}, GONE, journal)


@pytest.mark.parametrize("text", ["BTC/USDT", "btcusdt@trade", "btc usdt"])
def test_what_can_be_no_symbol_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigError):
        unchecked_symbols(Settings(symbols=(text,)), set(), AWAY, Journal())


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols_module, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(symbols_module, "_LAST_PAUSE_S", 0.001)


@pytest.mark.usefixtures("short_pauses")
async def test_the_check_is_made_up_for_when_the_exchange_answers() -> None:
    rest, journal, http = asking(
        ExchangeUnavailable("no answer"),
        HttpAnswer(418, {"retry-after": "0"}, b"{}"),
        HttpAnswer(500, {}, b"{}"),
        listing(BTCUSDT="TRADING", ETHUSDT="BREAK"),
    )
    await SymbolCheck(["btcusdt", "ethusdt"], rest, journal).run()
    assert len(http.asked) == 4
    assert len(journal.of(events.RestFailed)) == 3
    assert [told.symbols for told in journal.of(events.SymbolsChecked)] == [2]
    assert [(told.symbol, told.status) for told in journal.of(events.SymbolNotTrading)] == [("ethusdt", "BREAK")]


@pytest.mark.usefixtures("short_pauses")
async def test_a_symbol_that_does_not_exist_is_an_error_then_and_ends_nothing() -> None:
    rest, journal, _ = asking(listing(BTCUSDT="TRADING"))
    await SymbolCheck(["btcusdt", "btcusdx"], rest, journal).run()
    (told,) = journal.of(events.SymbolsUnknown)
    assert told.symbols == "btcusdx"
    assert "btcusdt" in told.hint
    assert not journal.of(events.SymbolsChecked)


@pytest.mark.usefixtures("short_pauses")
async def test_a_refusal_for_good_is_told_once() -> None:
    rest, journal, http = asking(HttpAnswer(451, {}, b"{}"))
    await SymbolCheck(["btcusdt"], rest, journal).run()
    assert len(http.asked) == 1
    assert [told.retry_in_s for told in journal.of(events.RestFailed)] == [None]


@pytest.mark.usefixtures("short_pauses")
async def test_during_the_ban_nothing_is_asked() -> None:
    rest, journal, http = asking(BAN)
    with pytest.raises(Throttled):
        await known_symbols(Settings(symbols=("BTCUSDT",)), rest, journal, patience_s=5)
    checking = asyncio.create_task(SymbolCheck(["btcusdt"], rest, journal).run())
    await asyncio.sleep(0.05)
    checking.cancel()
    assert len(http.asked) == 1
