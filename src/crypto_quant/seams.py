"""Where the rooms that decide meet the rooms that touch the world: narrow protocols, no behaviour.

``flow`` knows sockets, HTTP, databases and the clock only by these. Monotonic time and sleeping come from the
running event loop, randomness from one ``random.Random`` that the composition root makes.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol, overload

import msgspec

from crypto_quant.market import Timeframe


class Clock(Protocol):
    """Wall time."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        ...


# -- sockets ----------------------------------------------------------------------------------------------


class Link(Protocol):
    """One open WebSocket. None of the calls block; after the end all of them do nothing."""

    def send(self, text: bytes) -> None:
        """Queue one text frame."""
        ...

    def pong(self, payload: bytes) -> None:
        """Answer a ping with its own payload."""
        ...

    def close(self, code: int = 1000) -> None:
        """Begin the closing handshake; ``on_closed`` follows."""
        ...

    def abort(self) -> None:
        """Drop the connection without a handshake; ``on_closed`` follows."""
        ...

    def pause_reading(self) -> None:
        """Stop taking bytes from the socket, so that the sender feels the back-pressure."""
        ...

    def resume_reading(self) -> None:
        """Take bytes again."""
        ...


class LinkHandler(Protocol):
    """Who hears what a link receives; called from the event loop, must not block or raise."""

    def on_texts(self, payloads: Sequence[bytes]) -> None:
        """Whole text messages in the order of their arrival: what was read from the socket at once."""
        ...

    def on_ping(self, payload: bytes) -> None:
        """A ping; whoever handles it must see that the pong is sent."""
        ...

    def on_closed(self, code: int, reason: str) -> None:
        """The link has ended, once; 1006 when there was no closing handshake."""
        ...


class Connector(Protocol):
    """Opens WebSockets."""

    async def connect(self, url: str, handler: LinkHandler) -> Link:
        """Return the open link. Raises LinkLost, or Throttled when the handshake answers 429."""
        ...


# -- HTTP -------------------------------------------------------------------------------------------------


class HttpAnswer(msgspec.Struct, frozen=True):
    """Any HTTP answer, whatever its status. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http(Protocol):
    """Plain GET."""

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        """Return the answer, also a refusal. Raises ExchangeUnavailable when there is none."""
        ...

    async def download(self, url: str, into: Path) -> HttpAnswer:
        """Stream a body to the end of the file ``into``, going on from what it holds; return the answer, bodiless.

        Status 200 or 206: the file is complete as far as the server can tell. Any other answer leaves it untouched.
        Cancelling, and ExchangeUnavailable (the answer was cut), keep what came, so that the next call goes on there.
        Raises OSError when the disk refuses.
        """
        ...


# -- storage ----------------------------------------------------------------------------------------------


class Table(StrEnum):
    """The tables a batch can go to."""

    TRADES = "trades"
    CANDLES = "candles"


# The columns of a row's COPY text, in this order. `encode` writes them, `store` names them in its COPY.
# `time` comes first, so that the store can read a row's day from its first ten bytes.
COLUMNS: Mapping[Table, tuple[str, ...]] = {
    Table.TRADES: (
        "time", "venue", "symbol", "trade_id", "price", "quantity", "first_trade_id", "last_trade_id",
        "is_buyer_maker", "received_at",
    ),
    Table.CANDLES: (
        "time", "venue", "symbol", "timeframe", "open", "high", "low", "close", "volume", "quote_volume",
        "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id",
    ),
}  # fmt: skip


class Source(StrEnum):
    """Where a range of trades or candles came from."""

    STREAM = "stream"
    REST = "rest"
    ARCHIVE = "archive"
    STORED = "stored"
    """Found in the table by reading it: how its rows came there is not known."""
    VOID = "void"
    """Ids that the exchange has neutralised: told by it, and rightly without a row."""


class Covered(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What is proven to be stored once a batch commits: ``first`` to ``last``, inclusive, of one series.

    Without a timeframe these are aggregate ids of the symbol's trades, with one the slots of its candles
    (``market.Timeframe.slot``).
    """

    venue: str
    symbol: str
    first: int
    last: int
    source: Source
    timeframe: str | None = None


class Lines(Sequence[bytes]):
    """Rows as text, which is what they travel as; divided into lines only when somebody asks for one.

    ``parts`` are whole lines each, ``count`` of them together, each with its newline.
    """

    __slots__ = ("_count", "_lines", "parts")

    def __init__(self, parts: Sequence[bytes], count: int) -> None:
        self.parts = parts
        self._count = count
        self._lines: list[bytes] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        if self._lines is None:
            # not splitlines(), which knows other ends of a line than COPY does
            self._lines = [line + b"\n" for part in self.parts for line in part.split(b"\n")[:-1]]
        return self._lines[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # nobody needs it


class Batch(msgspec.Struct, frozen=True):
    """Rows for one table, each one line of PostgreSQL's COPY text (UTF-8, tab-separated, newline at its end).

    ``covered`` is what these rows prove; it is recorded in the transaction that stores them, so it can never claim
    what is not stored. A batch may hold ranges and no rows (ids that the exchange has neutralised).
    Batches with an ``order`` that are written at once had better extend their ranges in that order: then each
    continues the one before.
    """

    table: Table
    rows: Sequence[bytes]
    covered: Sequence[Covered] = ()
    order: int = 0

    @property
    def parts(self) -> Sequence[bytes]:
        """The text of the rows, in pieces of whole rows."""
        return self.rows.parts if isinstance(self.rows, Lines) else self.rows


class Receipt(msgspec.Struct, frozen=True):
    """What became of a batch: ``written`` rows are new, ``duplicates`` were there already. Committed.

    ``conflicting`` are the places in ``Batch.rows`` (from 0) of trades that are stored with another content or
    another time: they were not stored, the first version was kept. Each row is counted in one of the three.
    ``repeated`` are the places of the duplicates; it is told of candles alone.
    """

    written: int
    duplicates: int
    conflicting: Sequence[int] = ()
    repeated: Sequence[int] = ()


class PoolUse(msgspec.Struct, frozen=True):
    """Connections of the pool: its limit, those open, those at work now."""

    limit: int
    open: int
    busy: int


class Sink(Protocol):
    """A store that takes batches."""

    async def write(self, batch: Batch) -> Receipt:
        """Store the batch once; repeating it changes nothing.

        One transaction: all of it or nothing. Cancelling is safe.
        Raises StoreUnavailable (try again), StoreRejected (a row is refused: bisect), StoreDenied.
        """
        ...

    def pool_use(self) -> PoolUse:
        """Return how many connections there are and how many are at work."""
        ...

    async def close(self) -> None:
        """Close every connection; idempotent."""
        ...


class KnownSlots(msgspec.Struct, frozen=True):
    """What a store has of one series of candles: inclusive ranges of slots (``market.Timeframe.slot``).

    ``covered`` are proven to be stored, ``absent`` to exist nowhere. ``newest_ns`` is the open time of a stored
    candle, the newest; None when there is none.
    """

    covered: Sequence[tuple[int, int]] = ()
    absent: Sequence[tuple[int, int]] = ()
    newest_ns: int | None = None


class Ledger(Protocol):
    """What is proven of a symbol's ids and candles. Raises StoreUnavailable, StoreDenied."""

    async def covered(self, venue: str, symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Return the inclusive ranges proven within ``first`` to ``last``: stored, or known to be nowhere."""
        ...

    async def stored(self, venue: str, symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Return the inclusive ranges proven to be stored within ``first`` to ``last``."""
        ...

    async def record_absence(self, venue: str, symbol: str, first: int, last: int, proof: str) -> None:
        """Record that no source has these ids (inclusive); ``proof`` says in words who was asked."""
        ...

    async def dropped(
        self, venue: str, symbol: str, timeframe: str | None, first: int, last: int
    ) -> Sequence[tuple[int, int]]:
        """Return what of ``first`` to ``last`` (inclusive) was dropped on purpose: ids, or slots of a timeframe.

        It is not missing, and nobody fetches it who was not asked for it.
        """
        ...

    async def held_slots(
        self, venue: str, symbol: str, timeframe: Timeframe, first_ns: int, end_ns: int
    ) -> Sequence[tuple[int, int]]:
        """Return the candles that are stored, by their rows, or known to be nowhere: inclusive ranges of slots.

        Meant are those that open from ``first_ns`` (inclusive) to ``end_ns`` (exclusive). Rows that nothing has proven
        so far are proven by this.
        """
        ...

    async def known_slots(
        self, venue: str, since_ns: Mapping[tuple[str, Timeframe], int]
    ) -> Mapping[tuple[str, Timeframe], KnownSlots]:
        """Return what is known of each (symbol, timeframe) that has any candle.

        Of candles that were stored without being proven, those that open at the given time or later are proven by
        this, as far as they lie before everything that is proven already.
        """
        ...

    async def record_absent_slots(
        self, venue: str, symbol: str, timeframe: str, ranges: Sequence[tuple[int, int]], proof: str
    ) -> None:
        """Record that no source has these candles (inclusive ranges of slots), but for those that are stored."""
        ...

    async def candle_opens(self, venue: str, symbol: str, timeframe: str, first_ns: int, last_ns: int) -> Sequence[int]:
        """Return the open times (ns) of the candles stored from ``first_ns`` to ``last_ns``, both inclusive."""
        ...

    async def server(self) -> str:
        """Name the server that answers, the time of its start and of its last recovery.

        The same name is the same run of the same server: it has everything that it has confirmed in between.

        Raises StoreUnavailable for a standby: what it has may lag behind what is stored.
        """
        ...


class Housekeeper(Protocol):
    """Does what is due now and then; ``first_s`` is how many seconds after the start it is first called."""

    @property
    def first_s(self) -> float: ...

    async def keep(self, now_ns: int) -> Sequence["Event"]:
        """Do what is due at ``now_ns``; return what to tell. Raises the store's errors, and ConfigError."""
        ...


class Closer(Protocol):
    """Closes the record when a recorder ends in order."""

    async def close(self, now_ns: int) -> Sequence["Event"]:
        """Do what is left to do once everything is stored; return what to report. Cancelling is safe.

        Raises the store's errors.
        """
        ...


class SpoolFiles(Protocol):
    """The files of one spool, in a directory of its own that nobody else writes. Every call may raise OSError.

    Nothing counts as safe before it is synced: after a crash a file may lack any part of what was written since its
    last ``sync``, and a directory any change of names since its last ``sync_names``.
    """

    directory: str

    async def sizes(self) -> dict[str, int]:
        """Return the name and the size in bytes of every file, in the order of the names."""
        ...

    async def read(self, name: str) -> bytes:
        """Return the whole file."""
        ...

    async def write(self, name: str, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``; the file is made when it is not there. When it raises, a part may be written."""
        ...

    async def truncate(self, name: str, size: int) -> None:
        """Cut the file back to ``size`` bytes."""
        ...

    async def sync(self, name: str) -> None:
        """Return once the content of the file outlives a crash of the machine."""
        ...

    async def rename(self, name: str, new_name: str) -> None:
        """Give the file another name."""
        ...

    async def remove(self, name: str) -> None:
        """Delete the file."""
        ...

    async def sync_names(self) -> None:
        """Return once the names of the files outlive a crash of the machine."""
        ...

    async def close(self) -> None:
        """Let others have the directory; idempotent."""
        ...


class Quarantine(Protocol):
    """Keeps, in files, what could not be decoded or stored."""

    def keep(self, kind: str, raw: bytes, reason: str) -> None:
        """Keep ``raw`` with its reason under ``kind`` (``frame``, ``row``). Must not raise."""
        ...


class Event(Protocol):
    """Something that happened (see ``events``)."""


Emit = Callable[[object], None]
