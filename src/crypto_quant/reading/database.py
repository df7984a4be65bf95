"""What ``connect`` returns: a record, to be read as tables."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any
from weakref import WeakSet

import pyarrow as pa

from crypto_quant.completeness import DROPPED, Lack
from crypto_quant.errors import ConfigError, Incomplete
from crypto_quant.market import Timeframe
from crypto_quant.reading import anything, decode, reports
from crypto_quant.reading.asked import Step, When, choice_of, span_of, symbol_of, venue_of
from crypto_quant.reading.batches import Batches
from crypto_quant.reading.frames import checked, framed
from crypto_quant.reading.streams import Batch, Source
from crypto_quant.reading.stretch import Stretch, is_stored, stretch_of_candles, stretch_of_trades
from crypto_quant.reading.worker import Worker
from crypto_quant.store.readout import Readout, Snapshot

ON_GAP = ("raise", "warn", "ignore")
SOURCES = ("stored", "trades")
# so many of what lacks are named in a message
_NAMED_MAX = 5


class IncompleteWarning(UserWarning):
    """What was read is not whole."""


class Database:
    """A record, open for reading alone; made by ``crypto_quant.connect``.

    Every call sees one moment and blocks until it is done; it may come from any thread, and from within a running
    event loop. ``start`` is inclusive and ``end`` exclusive, as text in ISO 8601, a date or a datetime, in UTC unless
    it names a zone; None is as far as the record goes. Results are Arrow tables, polars or pandas frames (``as_``),
    with exact decimals or with float64 (``decimals``), and times in UTC.

    ``on_gap`` says what happens when not all is there that was asked for: ``raise`` (Incomplete), ``warn``
    (IncompleteWarning) or ``ignore``. Unproven is not there: before the record begins, and behind its end. What is
    proven to exist nowhere does not lack.

    All of them raise ConfigError for what cannot be asked, MissingExtra, and the store's errors.
    """

    def __init__(self, url: str) -> None:
        self._readout = Readout(url)
        self._worker = Worker()
        self._open: WeakSet[Batches] = WeakSet()

    # -- tables -------------------------------------------------------------------------------------------

    def trades(
        self,
        symbol: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        columns: Sequence[str] | None = None,
        on_gap: str = "raise",
        as_: str = "arrow",
        decimals: str = "exact",
    ) -> Any:  # noqa: ANN401 - as ``as_`` says
        """Return the trades of a range, by time and id."""
        checked(as_, decimals)
        batches = self.trade_batches(symbol, start, end, venue, columns=columns, on_gap=on_gap)
        return framed(batches.read_all(), as_, decimals)

    def candles(
        self,
        symbol: str,
        timeframe: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        source: str | None = None,
        columns: Sequence[str] | None = None,
        on_gap: str = "raise",
        as_: str = "arrow",
        decimals: str = "exact",
    ) -> Any:  # noqa: ANN401
        """Return the candles that open in a range: stored ones, or made from the stored trades.

        ``timeframe`` is one of the exchange's, or any that divides a day: ``10m``, ``90s``. ``source`` is ``stored``
        or ``trades``; None: stored where there are such candles of the symbol, else from trades. Those from trades
        are the exchange's own to the last digit but for quote volumes, which may be above them by up to 1e-8 a single
        trade that was aggregated, and have ids where stored ones from REST have none.
        """
        checked(as_, decimals)
        batches = self.candle_batches(
            symbol, timeframe, start, end, venue, source=source, columns=columns, on_gap=on_gap
        )
        return framed(batches.read_all(), as_, decimals)

    def gaps(
        self,
        symbol: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        timeframe: str | None = None,
        as_: str = "arrow",
    ) -> Any:  # noqa: ANN401
        """Return what is missing of a range of trades, or with ``timeframe`` of stored candles: no rows, it is whole.

        ``start`` and ``end`` of each say when, ``first`` and ``last`` which ids (of candles: open times), both
        inclusive and null when nobody can tell, ``missing`` how many, ``why`` whether they are ``missing`` between
        others, ``dropped`` on purpose, or ``unproven`` at an end of the record.
        """
        checked(as_, "exact")
        lacks = self.lacks(symbol, start, end, venue, timeframe=timeframe)
        return framed(reports.gaps(lacks, candles=timeframe is not None), as_, "exact")

    def coverage(self, symbol: str, venue: str = "spot", *, timeframe: str | None = None, as_: str = "arrow") -> Any:  # noqa: ANN401
        """Return what is proven of a symbol's trades, or with ``timeframe`` of its candles, lowest first.

        ``first`` and ``last`` are ids (of candles: open times), both inclusive; ``source`` says how they came:
        ``stream``, ``rest``, ``archive``, ``stored``, or without a row ``void`` and ``absent``.
        """
        checked(as_, "exact")
        symbol, venue = symbol_of(symbol), venue_of(venue)
        frame = None if timeframe is None else Timeframe.parse(timeframe)
        with self._snapshot() as snapshot:
            if frame is None:
                claims = self._worker.run(snapshot.claims(venue, symbol))
            else:
                claims = self._worker.run(snapshot.candle_claims(venue, symbol, frame.value))
        return framed(reports.coverage(claims, frame), as_, "exact")

    def symbols(self, *, as_: str = "arrow") -> Any:  # noqa: ANN401
        """Return what is recorded: of each venue and symbol the kinds (``trades``, or a timeframe) and how many."""
        checked(as_, "exact")
        with self._snapshot() as snapshot:
            return framed(reports.symbols(self._worker.run(snapshot.recorded())), as_, "exact")

    def sql(self, query: str, *values: object, as_: str = "arrow", decimals: str = "exact") -> Any:  # noqa: ANN401
        """Return what a query of your own returns; ``values`` stand for $1, $2 … in it. What writes is refused.

        Tables: ``trades``, ``candles``, ``coverage`` and others, see docs/schema.md.
        """
        checked(as_, decimals)
        return framed(self.answer(query, *values), as_, decimals)

    def answer(self, query: str, *values: object) -> pa.Table:
        """Return the same as an Arrow table for files: its decimals of 38 digits, whatever the values."""
        query = query.strip().rstrip(";").rstrip()
        if not query:
            raise ConfigError("the query is empty")
        with self._snapshot() as snapshot:
            columns = self._worker.run(snapshot.columns(query))
            if anything.copyable(query):
                rows = self._worker.blocks(lambda send: snapshot.copy_of(query, values, send))
                return anything.table_of(columns, rows)
            return anything.table_of_rows(columns, self._worker.run(snapshot.rows_of(query, values)))
        raise AssertionError("unreachable: nothing above is swallowed")

    # -- streams ------------------------------------------------------------------------------------------

    def trade_batches(
        self,
        symbol: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        columns: Sequence[str] | None = None,
        on_gap: str = "raise",
    ) -> Batches:
        """Return the trades of a range as record batches, in the order (time, trade_id), in bounded memory.

        What is known to lack is told at once; what turns out to be gone, behind the last batch.
        """
        symbol, venue, span = symbol_of(symbol), venue_of(venue), span_of(start, end)
        schema = decode.chosen(decode.TRADES, columns, kind="trades", venue=venue, symbol=symbol)

        def begin(source: Source, _snapshot: Snapshot) -> tuple[Stretch, Batch]:
            return source.trades(span, schema)

        return self._batches(begin, schema, venue, symbol, f"trades of {symbol} ({venue})", on_gap)

    def candle_batches(
        self,
        symbol: str,
        timeframe: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        source: str | None = None,
        columns: Sequence[str] | None = None,
        on_gap: str = "raise",
    ) -> Batches:
        """Return the candles of ``candles`` as record batches, in the order of time, in bounded memory."""
        symbol, venue, span = symbol_of(symbol), venue_of(venue), span_of(start, end)
        if source is not None:
            choice_of(source, "source", SOURCES)
        step = Step(timeframe)
        frame = Timeframe.parse(timeframe) if source == "stored" else step.known
        about = {"kind": "candles", "venue": venue, "symbol": symbol, "timeframe": step.name}
        schema = decode.chosen(decode.CANDLES, columns, **about)

        def begin(origin: Source, snapshot: Snapshot) -> tuple[Stretch, Batch]:
            if frame is not None and (
                source == "stored"
                or (source is None and self._worker.run(is_stored(snapshot, venue, symbol, frame, span)))
            ):
                return origin.stored_candles(frame, span, schema)
            if venue == "coinm":
                raise ConfigError(
                    "candles of coin-margined contracts are not made from trades",
                    subject=f"{symbol} {timeframe}",
                    hint="Their volumes need the size of a contract; record the exchange's own candles",
                )
            return origin.built_candles(step, span, schema)

        return self._batches(begin, schema, venue, symbol, f"{timeframe} candles of {symbol} ({venue})", on_gap)

    def lacks(
        self,
        symbol: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        timeframe: str | None = None,
    ) -> list[Lack]:
        """Return what ``gaps`` returns, as values.

        The rows are counted against what is proven, so that rows which are gone are found.
        """
        symbol, venue, span = symbol_of(symbol), venue_of(venue), span_of(start, end)
        frame = None if timeframe is None else Timeframe.parse(timeframe)
        with self._snapshot() as snapshot:
            if frame is None:
                stretch = self._worker.run(stretch_of_trades(snapshot, venue, symbol, span, count=True))
            else:
                stretch = self._worker.run(stretch_of_candles(snapshot, venue, symbol, frame, span, count=True))
        return list(stretch.lacks)

    # -- the inside ---------------------------------------------------------------------------------------

    def _batches(
        self,
        begin: Callable[[Source, Snapshot], tuple[Stretch, Batch]],
        schema: pa.Schema,
        venue: str,
        symbol: str,
        what: str,
        on_gap: str,
    ) -> Batches:
        choice_of(on_gap, "on_gap", ON_GAP)
        with ExitStack() as stack:
            snapshot = stack.enter_context(self._snapshot())
            told: list[Lack] = []

            def judge(lacks: Sequence[Lack]) -> None:
                told.extend(lacks)
                _judge(lacks, what, on_gap)

            def beside() -> Snapshot | None:
                return stack.enter_context(self._worker.entered(self._readout.beside(snapshot)))

            source = Source(self._worker, snapshot, venue, symbol, beside=beside, judge=judge)
            stretch, batches = begin(source, snapshot)
            opened = Batches(schema, batches, told, stretch.span, stack.pop_all())
            self._open.add(opened)
            return opened
        raise AssertionError("unreachable: nothing above is swallowed")

    @contextmanager
    def _snapshot(self) -> Iterator[Snapshot]:
        with self._worker.entered(self._readout.snapshot()) as snapshot:
            yield snapshot

    def close(self) -> None:
        """End what is still being read, and close the connections; idempotent.

        Should another call follow, it opens one again.
        """
        for batches in list(self._open):
            batches.close()
        self._worker.run(self._readout.close())
        self._worker.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<crypto_quant.Database {self._readout.database}, for reading>"


def _judge(lacks: Sequence[Lack], what: str, on_gap: str) -> None:
    if not lacks or on_gap == "ignore":
        return
    named = "; ".join(map(str, lacks[:_NAMED_MAX]))
    more = f"; and {len(lacks) - _NAMED_MAX} more" if len(lacks) > _NAMED_MAX else ""
    dropped = sum(each.why == DROPPED for each in lacks)
    ways = ["gaps() tells all of it"]
    if dropped < len(lacks):
        ways.append("`crypto-quant repair` or `backfill` fetches what can be had")
    if dropped:
        ways.append("`crypto-quant backfill` fetches what was dropped on purpose again from the archives")
    hint = "; ".join([*ways, "on_gap='warn' or 'ignore' reads what there is"])
    problem = Incomplete(f"not all {what} are there", subject=named + more, hint=hint)
    if on_gap == "raise":
        raise problem
    warnings.warn(str(problem), IncompleteWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """Return the stack level, as ``warnings`` counts from its caller, of the first frame that is not of ours."""
    level, frame = 1, inspect.currentframe()
    frame = frame and frame.f_back
    while frame is not None and frame.f_globals.get("__name__", "").startswith("crypto_quant."):
        level, frame = level + 1, frame.f_back
    return level
