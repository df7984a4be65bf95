"""A table held against the exchange's own REST, row by row, as text: what the demo proves."""

from collections.abc import Callable
from typing import Any

import msgspec

from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.market import fold_symbol
from crypto_quant.net.http import AiohttpClient
from crypto_quant.store.as_text import candles_as_text, trades_as_text

Progress = Callable[[float, float, str], None]

_PAGE = 1000
_MICROSECONDS = {"X-MBX-TIME-UNIT": "MICROSECOND"}


class Verdict(msgspec.Struct):
    """What the comparison found: rows of the table, those equal, ids missing within its range, rows too many."""

    trades: int = 0
    trades_equal: int = 0
    missing: int = 0
    extra: int = 0
    candles: int = 0
    candles_equal: int = 0
    differences: list[str] = []

    @property
    def exact(self) -> bool:
        """Whether there was something to compare and all of it is equal."""
        whole = self.trades == self.trades_equal and self.candles == self.candles_equal
        return bool(self.trades) and whole and not self.missing and not self.extra


async def compare(url: str, rest_url: str, symbols: list[str], streams: tuple[str, ...], progress: Progress) -> Verdict:
    """Compare every trade and candle stored of these symbols with what the exchange's REST says.

    ``progress`` hears how much is done of the symbols.
    """
    verdict = Verdict()
    http = AiohttpClient()
    try:
        for at, symbol in enumerate(symbols):

            def told(share: float, at: int = at, symbol: str = symbol) -> None:
                progress(at + share, len(symbols), symbol)

            told(0.0)
            stored = await trades_as_text(url, "spot", fold_symbol(symbol))
            await _trades(http, rest_url, symbol, stored, verdict, told)
            for stream in streams:
                kind, _, timeframe = stream.partition("_")
                if kind == "kline":
                    rows = await candles_as_text(url, "spot", fold_symbol(symbol), timeframe)
                    await _candles(http, rest_url, symbol, timeframe, rows, verdict)
    finally:
        await http.close()
    return verdict


async def _trades(
    http: AiohttpClient,
    rest_url: str,
    symbol: str,
    stored: list[tuple[str, ...]],
    verdict: Verdict,
    tell: Callable[[float], None],
) -> None:
    verdict.trades += len(stored)
    if not stored:
        return
    by_id = {int(row[0]): row for row in stored}
    verdict.extra += len(stored) - len(by_id)
    first_id = next_id = min(by_id)
    last_id = max(by_id)
    verdict.missing += last_id - next_id + 1 - len(by_id)
    while next_id <= last_id:
        page = await _get(http, f"{rest_url}/api/v3/aggTrades", symbol=symbol, fromId=str(next_id), limit=str(_PAGE))
        for trade in page:
            row = by_id.get(trade["a"])
            if row is None:
                continue
            told = (trade["a"], trade["p"], trade["q"], trade["f"], trade["l"], trade["T"], trade["m"])
            if row == tuple(_plain(value) for value in told):
                verdict.trades_equal += 1
            else:
                verdict.differences.append(f"{symbol} {trade['a']}: stored {row}, exchange {told}")
        if not page:
            return
        next_id = page[-1]["a"] + 1
        tell(min(1.0, (next_id - first_id) / (last_id - first_id + 1)))


async def _candles(
    http: AiohttpClient, rest_url: str, symbol: str, timeframe: str, stored: list[tuple[str, ...]], verdict: Verdict
) -> None:
    verdict.candles += len(stored)
    told: dict[str, tuple[str, ...]] = {}
    start = int(stored[0][0]) if stored else 0
    while stored and start <= int(stored[-1][0]):
        page = await _get(
            http,
            f"{rest_url}/api/v3/klines",
            symbol=symbol,
            interval=timeframe,
            startTime=str(start),
            limit=str(_PAGE),
        )
        for row in page:
            told[_plain(row[0])] = tuple(_plain(row[at]) for at in (0, 1, 2, 3, 4, 5, 7, 8, 9, 10))
        if not page:
            break
        start = page[-1][0] + 1
    for row in stored:
        if told.get(row[0]) == row:
            verdict.candles_equal += 1
        else:
            verdict.differences.append(f"{symbol} {timeframe}: stored {row}, exchange {told.get(row[0])}")


async def _get(http: AiohttpClient, url: str, **params: str) -> list[Any]:
    answer = await http.get(url, params, _MICROSECONDS)
    if answer.status != 200:
        raise ExchangeUnavailable(f"HTTP {answer.status}", subject=url)
    page: list[Any] = msgspec.json.decode(answer.body)
    return page


def _plain(value: object) -> str:
    return ("t" if value else "f") if isinstance(value, bool) else str(value)
