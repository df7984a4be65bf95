"""Where the audit meets a store: what it asks (``Reader``, a seam) and the values that answer. No behaviour."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Protocol

import msgspec

from crypto_quant.market import utc_text


class Scope(msgspec.Struct, frozen=True):
    """Which series are meant; ``venue`` None is every venue, no symbol is every symbol."""

    venue: str | None = None
    symbols: tuple[str, ...] = ()


class Spooled(msgspec.Struct, frozen=True):
    """Rows that wait in one directory of a spool, on their way to the database."""

    directory: str
    trades: int
    candles: int

    @property
    def rows(self) -> int:
        """Rows of both tables."""
        return self.trades + self.candles


class Span(msgspec.Struct, frozen=True):
    """A stretch of the exchange's time in ns since the epoch: ``start`` inclusive, ``end`` exclusive."""

    start: int
    end: int


class Run(msgspec.Struct, frozen=True):
    """Trades of one symbol within one span, as the rows tell.

    Read row by row, the ids ``first`` to ``last`` (inclusive) are all there, ``repeats`` rows bring an id again, and
    ``breaks`` times the single trades do not continue (spot alone). Merely counted, a run may have holes.
    ``first_single`` and ``last_single`` are the outermost single trades, times are those of its outermost rows.
    """

    venue: str
    symbol: str
    first: int
    last: int
    rows: int
    first_ns: int
    last_ns: int
    repeats: int = 0
    breaks: int = 0
    first_single: int = -1
    last_single: int = -1


class Fill(msgspec.Struct, frozen=True):
    """A proven range of ids as ``coverage`` has it; ``since_ns`` to ``until_ns`` is when it was recorded."""

    venue: str
    symbol: str
    first: int
    last: int
    source: str
    since_ns: int
    until_ns: int


class Absence(msgspec.Struct, frozen=True):
    """Ids ``first`` to ``last`` (inclusive) that no source has, with the proof, and when it was given in ns."""

    venue: str
    symbol: str
    first: int
    last: int
    proof: str
    proven_ns: int


class Series(msgspec.Struct, frozen=True):
    """The stored candles of one timeframe within a span. Times are open times in ns, inclusive.

    ``jumps`` are the neighbours in time that are not neighbours in the raster; none are told of candles that were
    merely counted. ``misplaced`` candles do not open on the raster (told for timeframes up to a day).
    """

    venue: str
    symbol: str
    timeframe: str
    rows: int
    first_ns: int
    last_ns: int
    jumps: Sequence[tuple[int, int]] = ()
    misplaced: int = 0


class CandleFill(msgspec.Struct, frozen=True):
    """A proven range of slots (``market.Timeframe.slot``, inclusive) as ``candle_coverage`` has it."""

    venue: str
    symbol: str
    timeframe: str
    first: int
    last: int
    source: str
    since_ns: int
    until_ns: int


class CandleAbsence(msgspec.Struct, frozen=True):
    """Candles, as slots ``first`` to ``last`` (inclusive), that no source has; as ``Absence``."""

    venue: str
    symbol: str
    timeframe: str
    first: int
    last: int
    proof: str
    proven_ns: int


class FromTrades(msgspec.Struct, frozen=True):
    """What the stored trades of a candle's time say: aggregate ids and single trades inclusive, exact decimals.

    ``quote`` is each aggregate's price × quantity cut to eight decimals before it is summed. ``aggregates`` counts
    rows, ``singles`` the single trades in them; ``taker_…`` those that takers bought.
    """

    first: int
    last: int
    aggregates: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote: Decimal
    taker_volume: Decimal
    taker_quote: Decimal
    singles: int
    taker_aggregates: int
    taker_singles: int
    first_single: int
    last_single: int


class Pair(msgspec.Struct, frozen=True):
    """A stored candle that is not equal to what its trades say. None: the candle does not tell."""

    venue: str
    symbol: str
    timeframe: str
    open_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal | None
    trade_count: int | None
    taker_buy_volume: Decimal | None
    taker_buy_quote_volume: Decimal | None
    first_trade_id: int | None
    last_trade_id: int | None
    trades: FromTrades


class Tally(msgspec.Struct, frozen=True):
    """Candles of one series held against trades: ``equal`` ones, and those without any trade to compare with."""

    venue: str
    symbol: str
    timeframe: str
    equal: int
    without_trades: int


class Verdict(msgspec.Struct, frozen=True):
    """One field of a stored candle that its whole trades contradict."""

    venue: str
    symbol: str
    timeframe: str
    open_ns: int
    field: str
    stored: str
    derived: str

    @property
    def open_text(self) -> str:
        """The candle's open time as text."""
        return utc_text(self.open_ns)


class Digest(msgspec.Struct, frozen=True):
    """SHA-256 (hex) over the rows of one series and UTC day; ``series`` is ``trades`` or ``candles``.

    ``first`` and ``last`` bound the rows, inclusive: trade ids, or open times in µs since the epoch.
    """

    series: str
    venue: str
    symbol: str
    timeframe: str
    day: str
    first: int
    last: int
    rows: int
    sha256: str


class Reader(Protocol):
    """A store that answers an audit. Raises StoreUnavailable and StoreDenied."""

    @property
    def digest_sql(self) -> Mapping[str, str]:
        """The SQL behind ``digests``, by kind of series, for psql."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[None]:
        """Let every question asked inside see the same moment."""
        ...

    async def extent(self, scope: Scope) -> Span | None:
        """Return the time from the first to just after the last row of the scope; None when there is none."""
        ...

    async def missing_tables(self) -> list[str] | None:
        """Return the tables of claims that should be there and are not; None when this database keeps no claims."""
        ...

    async def recorded(self) -> list[tuple[str, str]]:
        """Return every (venue, symbol) that has rows; reads much."""
        ...

    async def runs(self, scope: Scope, span: Span) -> list[Run]:
        """Return the unbroken runs of ids, read row by row."""
        ...

    async def counted(self, scope: Scope, span: Span) -> list[Run]:
        """Return one run a symbol, merely counted."""
        ...

    async def repeated(self, run: Run, span: Span, limit: int) -> list[tuple[int, list[int]]]:
        """Return the ids that a run brings more than once, with the times of their rows in ns."""
        ...

    async def broken(self, run: Run, span: Span, limit: int) -> list[tuple[int, int, int]]:
        """Return where single trades do not continue: the id, the single expected, the single found."""
        ...

    async def fills(self, scope: Scope) -> list[Fill]:
        """Return what ``coverage`` claims, lowest first; empty where there is no such table."""
        ...

    async def absences(self, scope: Scope) -> list[Absence]:
        """Return what is known to exist nowhere, lowest first; empty where there is no such table."""
        ...

    async def dropped(self, scope: Scope) -> list[Fill]:
        """Return the ids that were dropped on purpose, lowest first; empty where there is no such table.

        Some may have been fetched again: those are in ``fills`` as well. ``source`` is ``policy`` or ``hand``.
        """
        ...

    async def candle_dropped(self, scope: Scope) -> list[CandleFill]:
        """Return the candles that were dropped on purpose, as ``dropped`` does."""
        ...

    async def counted_candles(self, scope: Scope, span: Span) -> list[Series]:
        """Return the stored candles, per series, merely counted."""
        ...

    async def series(self, scope: Scope, span: Span) -> list[Series]:
        """Return the stored candles, per series, read one by one."""
        ...

    async def candle_fills(self, scope: Scope) -> list[CandleFill]:
        """Return what ``candle_coverage`` claims, lowest first; empty where there is no such table."""
        ...

    async def candle_absences(self, scope: Scope) -> list[CandleAbsence]:
        """Return the candles that are known to exist nowhere, lowest first; empty where there is no such table."""
        ...

    async def compare(
        self, scope: Scope, span: Span, frames: Mapping[str, int], base_s: int
    ) -> tuple[list[Tally], list[Pair]]:
        """Hold the spot candles that open in the span against its trades.

        ``frames`` are timeframes and their lengths in seconds, whole multiples of ``base_s``; all begin anew at the
        span's start.
        """
        ...

    async def keep_verdicts(self, scope: Scope, span: Span, verdicts: Sequence[Verdict], now_ns: int) -> bool:
        """Store the verdicts in place of all earlier ones of scope and span.

        False when they cannot be stored: no such table, or no right to write it.
        """
        ...

    async def digests(self, span: Span, bounds: Sequence[Digest]) -> list[Digest]:
        """Return the digest of each of these bounds, whatever theirs says; all in one span, of one kind."""
        ...
