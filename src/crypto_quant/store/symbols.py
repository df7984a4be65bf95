"""What the exchange lists, kept in the database: the assets of each symbol, its status, and when that was said."""

from collections.abc import Iterable

from crypto_quant.market import Listing, Venue, fold_symbol
from crypto_quant.store.moments import moment
from crypto_quant.store.timescale import TimescaleSink

_NOTE = """
INSERT INTO symbols (venue, symbol, base, quote, status, seen_at)
SELECT $1, given.symbol, given.base, given.quote, given.status, $6
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS given (symbol, base, quote, status)
ON CONFLICT (venue, symbol) DO UPDATE
SET base = EXCLUDED.base, quote = EXCLUDED.quote, status = EXCLUDED.status, seen_at = EXCLUDED.seen_at
WHERE symbols.seen_at <= EXCLUDED.seen_at"""


async def note_symbols(sink: TimescaleSink, venue: Venue, listings: Iterable[Listing], seen_ns: int) -> None:
    """Keep what an exchangeInfo of the time ``seen_ns`` has; what a later one has said stays.

    Symbols whose assets it does not tell are left out. Raises the store's errors.
    """
    # in one order, so that two who start at once do not wait for each other in a circle
    told = sorted((fold_symbol(each.symbol), each.base, each.quote, each.status)
                  for each in listings if each.base and each.quote)  # fmt: skip
    if told:
        async with sink.reading() as connection:
            await connection.execute(_NOTE, venue.value, *map(list, zip(*told, strict=True)), moment(seen_ns))
