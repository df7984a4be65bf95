"""Exports and imports for tests, in this process; and a record that has all that a record can have."""

from collections.abc import Sequence
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
from records import DAY, SECOND, Record, trade

from crypto_quant.lake.exporting import Exporter, Outcome
from crypto_quant.lake.forms import FORMS
from crypto_quant.lake.importing import Importer, look
from crypto_quant.lake.importing import Outcome as Imported
from crypto_quant.lake.origin import Origin
from crypto_quant.lake.pairs import given_pairs
from crypto_quant.manifest import Manifest, Series, read
from crypto_quant.seams import Source
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.timescale import open_sink

BTC = Series("spot", "trades", "btcusdt")
BTC_5M = Series("spot", "candles", "btcusdt", "5m")
HOUR = 3600 * SECOND
FOLDER = Path("venue=spot/kind=trades/symbol=btcusdt")
TOLD = Path("_manifests") / FOLDER / "manifest.json"


def exported(
    url: str,
    out: Path,
    form: str = "parquet",
    *series: Series,
    first: date | None = None,
    last: date | None = None,
    on_gap: str = "raise",
    overwrite: bool = False,
    pairs: Sequence[str] = (),
) -> list[Outcome]:
    """Export as the command does."""
    with closing(Origin(url)) as origin:
        exporter = Exporter(
            origin,
            FORMS[form],
            out,
            on_gap=on_gap,
            overwrite=overwrite,
            made_by="test",
            progress=lambda *_: None,
            pairs=given_pairs(pairs),
        )
        return exporter.run(series or [BTC], first, last)


async def imported(url: str, directory: Path) -> list[Imported]:
    """Import what is sound, as the command does."""
    sink = await open_sink(url, pool_size=2)
    try:
        lake = look(directory, lambda *_: None)
        return await Importer(sink, StoreLedger(sink), lambda *_: None).run(lake)
    finally:
        await sink.close()


def manifest(out: Path, folder: Path = FOLDER) -> Manifest:
    return read(out / "_manifests" / folder / "manifest.json")


def files(out: Path) -> list[str]:
    """Every file below a directory, hidden ones too."""
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


async def three_days(record: Record) -> None:
    """Fill three whole days with trades of extreme numbers; ids 0 to 29."""
    rows = [trade(number, DAY + number * 2.4 * HOUR) for number in range(30)]
    rows[3] = trade(3, DAY + 7.2 * HOUR, price=Decimal("0.00000001"), quantity=Decimal("999999999999.99999999"))
    rows[4] = trade(4, DAY + 9.6 * HOUR, price=Decimal("999999999999.99999999"), quantity=Decimal("0.00000010"))
    rows[5] = trade(5, DAY + timedelta(hours=12, microseconds=1), received_at=DAY + timedelta(hours=12, microseconds=7))
    await record.trades(rows)


async def rich(record: Record) -> None:
    """Fill a record with trades of all sources, voids, absences, unproven rows, holes, and candles with an absence."""
    rows = [trade(number, DAY + number * HOUR) for number in range(10, 50) if number not in (20, 21, 30, 31, 32, 40)]
    await record.trades(rows, covered=False)
    await record.cover([(10, 15)], Source.ARCHIVE)
    await record.cover([(16, 19), (22, 24)], Source.STREAM)
    await record.cover([(20, 21)], Source.VOID)
    await record.cover([(25, 29), (33, 39)], Source.REST)
    # 30 to 32 exist nowhere, 40 is missing, 41 to 49 are stored and not proven
    await record.execute("INSERT INTO absences VALUES ('spot', 'btcusdt', 30, 32, 'asked, and there were none', now())")
    opens = [DAY + number * 300 * SECOND for number in range(300) if number not in (7, 8)]
    await record.candles(opens[:-20])
    await record.candles(opens[-20:], covered=False)
    first = int(DAY.timestamp()) // 300
    await record.execute(
        "INSERT INTO candle_absences VALUES ('spot', 'btcusdt', '5m', $1, $2, 'asked for these', now())",
        first + 7, first + 8,
    )  # fmt: skip


_TRADES = """
SELECT time, venue, symbol, trade_id, price::text, quantity::text, first_trade_id, last_trade_id, is_buyer_maker,
       received_at
FROM trades ORDER BY venue, symbol, trade_id, time"""
_CANDLES = """
SELECT time, venue, symbol, timeframe, open::text, high::text, low::text, close::text, volume::text,
       quote_volume::text, trade_count, taker_buy_volume::text, taker_buy_quote_volume::text, first_trade_id,
       last_trade_id
FROM candles ORDER BY venue, symbol, timeframe, time"""
_PROOFS = (
    "SELECT venue, symbol, first_id, last_id, source, newest FROM coverage ORDER BY 1, 2, 3",
    "SELECT venue, symbol, first_id, last_id, proof FROM absences ORDER BY 1, 2, 3",
    "SELECT venue, symbol, timeframe, first_slot, last_slot, source, newest FROM candle_coverage ORDER BY 1, 2, 3, 4",
    "SELECT venue, symbol, timeframe, first_slot, last_slot, proof FROM candle_absences ORDER BY 1, 2, 3, 4",
)


async def everything(url: str) -> list[Sequence[tuple[object, ...]]]:
    """All that a record says, table by table."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        return [[tuple(row) for row in await connection.fetch(query)] for query in (_TRADES, _CANDLES, *_PROOFS)]
    finally:
        await connection.close()
