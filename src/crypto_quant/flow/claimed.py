"""What a store claims, read for whoever holds rows against it."""

from crypto_quant.claims import Claims
from crypto_quant.evidence import Reader, Scope
from crypto_quant.seals import TRADES, Key, stream_of


async def claims_by_stream(reader: Reader, scope: Scope) -> dict[Key, Claims]:
    """Return what is claimed of each series of the scope, trades and candles, by venue, symbol and stream."""
    trades, candles = await trade_claims(reader, scope), await candle_claims(reader, scope)
    return {
        **{(*key, TRADES): claims for key, claims in trades.items()},
        **{(venue, symbol, stream_of(frame)): claims for (venue, symbol, frame), claims in candles.items()},
    }


async def trade_claims(reader: Reader, scope: Scope) -> dict[tuple[str, str], Claims]:
    """Return what is claimed of the trades of each symbol of the scope."""
    found: dict[tuple[str, str], Claims] = {}
    for fill in await reader.fills(scope):
        found.setdefault((fill.venue, fill.symbol), Claims()).covered.append(fill)
    for absence in await reader.absences(scope):
        found.setdefault((absence.venue, absence.symbol), Claims()).absent.append(absence)
    for gone in await reader.dropped(scope):
        found.setdefault((gone.venue, gone.symbol), Claims()).dropped.append(gone)
    return found


async def candle_claims(reader: Reader, scope: Scope) -> dict[tuple[str, str, str], Claims]:
    """Return what is claimed of the candles of each series of the scope."""
    found: dict[tuple[str, str, str], Claims] = {}
    for fill in await reader.candle_fills(scope):
        found.setdefault((fill.venue, fill.symbol, fill.timeframe), Claims()).covered.append(fill)
    for absence in await reader.candle_absences(scope):
        found.setdefault((absence.venue, absence.symbol, absence.timeframe), Claims()).absent.append(absence)
    for gone in await reader.candle_dropped(scope):
        found.setdefault((gone.venue, gone.symbol, gone.timeframe), Claims()).dropped.append(gone)
    return found
