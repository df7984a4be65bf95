"""What happened, as typed values.

Rooms say *what* happened by emitting one of these; ``ops`` turns it into a log line (and, later, a metric).
``message`` is the line's text, ``level`` its severity, ``remedy`` what a person does about it; the fields are its data.
Nothing here is an error class: an outage, a hole and a refusal are facts about the record.
"""

from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The base: a message, a level, a remedy (docs/errors.md is made of them) and the fields of the subclass."""

    message: ClassVar[str] = ""
    level: ClassVar[str] = "info"
    remedy: ClassVar[str] = ""


# -- links ------------------------------------------------------------------------------------------------


class LinkOpened(Event, frozen=True, kw_only=True):
    """A WebSocket is up; its subscriptions follow."""

    message: ClassVar[str] = "Link opened"
    link: int
    url: str
    streams: int


class LinkEnded(Event, frozen=True, kw_only=True):
    """A WebSocket is down. ``code`` 1006 means that nobody said goodbye; ``lived_s`` is how long it was up."""

    message: ClassVar[str] = "Link ended"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Nothing: it is opened again, and what was missed is fetched. Often: look at the network; "
        "`--links 2` loses nothing"
    )
    link: int
    code: int
    reason: str
    lived_s: float


class LinkReplaced(Event, frozen=True, kw_only=True):
    """A WebSocket was closed after another had taken its place; nothing was missed. ``lived_s``: how long it was up."""

    message: ClassVar[str] = "Link replaced"
    link: int
    cause: str
    lived_s: float


class LinkClosed(Event, frozen=True, kw_only=True):
    """A WebSocket was closed because the recorder ends."""

    message: ClassVar[str] = "Link closed"
    link: int
    lived_s: float


class ReconnectScheduled(Event, frozen=True, kw_only=True):
    """The next attempt to connect is made after ``delay_s``."""

    message: ClassVar[str] = "Reconnect scheduled"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Nothing, unless it goes on: then `cause` says what to look at (network, DNS, certificate, a ban)"
    )
    link: int
    attempt: int
    delay_s: float
    cause: str


class Subscribed(Event, frozen=True, kw_only=True):
    """Every stream of a link has been acknowledged."""

    message: ClassVar[str] = "Subscribed"
    link: int
    streams: int


class SubscriptionRefused(Event, frozen=True, kw_only=True):
    """The exchange answered a subscription with an error."""

    message: ClassVar[str] = "Subscription refused"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "Correct the streams that it names"
    link: int
    code: int
    reason: str
    streams: tuple[str, ...]


class SubscriptionUnanswered(Event, frozen=True, kw_only=True):
    """No acknowledgement came in time; data may flow all the same, so the link is kept while it does."""

    message: ClassVar[str] = "Subscription not acknowledged"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing while data flow"
    link: int
    waited_s: float


class LinkSilent(Event, frozen=True, kw_only=True):
    """Neither data nor a ping came for ``silent_s``; the link is replaced."""

    message: ClassVar[str] = "Link silent"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing: the link is replaced. Often: look at the network between here and the exchange"
    link: int
    silent_s: float


class LinkExpiring(Event, frozen=True, kw_only=True):
    """The link nears the end of the life that the exchange grants, or was told to go; it is replaced."""

    message: ClassVar[str] = "Link expiring"
    link: int
    cause: str


class StreamStalled(Event, frozen=True, kw_only=True):
    """A stream does not come though the exchange has moved on, by its REST; its link is replaced.

    ``ours`` and ``exchanges`` are the last aggregate ids of both (of a candle stream: its last open times, ns since
    the epoch); ``ours`` is -1 when nothing ever came.
    """

    message: ClassVar[str] = "Stream stalled"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing: the link is replaced, and what was missed is fetched"
    venue: str
    symbol: str
    stream: str
    ours: int
    exchanges: int
    silent_s: float


class ReadingPaused(Event, frozen=True, kw_only=True):
    """Too many rows wait for the database: sockets are not read until it has caught up."""

    message: ClassVar[str] = "Reading paused"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Look why the database is slow, or why the spool takes nothing (disk full, `--no-spool`)"
    pending: int
    limit: int


class ReadingResumed(Event, frozen=True, kw_only=True):
    """The database has caught up; sockets are read again."""

    message: ClassVar[str] = "Reading resumed"
    pending: int
    paused_s: float


# -- frames -----------------------------------------------------------------------------------------------


class FrameSetAside(Event, frozen=True, kw_only=True):
    """A frame that could not be used was kept raw, with its reason."""

    message: ClassVar[str] = "Frame set aside"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Look into `set-aside/frames-….ndjson` in the data directory; the exchange may have changed its format"
    )
    reason: str
    size: int
    excerpt: str
    so_far: int


class GapFound(Event, frozen=True, kw_only=True):
    """Ids ``first`` to ``last`` (inclusive) of a symbol's aggregate trades have not been received."""

    message: ClassVar[str] = "Gap found"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing while backfill is on; without it, `crypto-quant repair`"
    venue: str
    symbol: str
    first: int
    last: int


class GapFilled(Event, frozen=True, kw_only=True):
    """Ids ``first`` to ``last`` (inclusive) that were missing are stored now; ``source`` is ``rest`` or ``archive``."""

    message: ClassVar[str] = "Gap filled"
    venue: str
    symbol: str
    first: int
    last: int
    trades: int
    source: str


class GapLeftOpen(Event, frozen=True, kw_only=True):
    """Ids ``first`` to ``last`` (inclusive) stay missing for now; ``cause`` says why, ``hint`` what closes them."""

    message: ClassVar[str] = "Gap left open"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Run the command that `hint` holds"
    venue: str
    symbol: str
    first: int
    last: int
    cause: str
    hint: str


class TradesAbsent(Event, frozen=True, kw_only=True):
    """No source has the ids ``first`` to ``last`` (inclusive): a hole of the exchange itself, recorded as such."""

    message: ClassVar[str] = "Trades absent at the exchange"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing: it is recorded in `absences`, with the proof"
    venue: str
    symbol: str
    first: int
    last: int
    proof: str


class ArchiveLoaded(Event, frozen=True, kw_only=True):
    """A file of the archive is stored: ``rows`` it held, ``written`` of them were new."""

    message: ClassVar[str] = "Archive file stored"
    file: str
    rows: int
    written: int


class ArchiveFlaw(Event, frozen=True, kw_only=True):
    """A file of the archive is not as it should be; ``flaw`` says what was found and what was done."""

    message: ClassVar[str] = "Archive file flawed"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing: `flaw` says what was done; what a file lacks is asked for over REST"
    file: str
    flaw: str


class GapsKnown(Event, frozen=True, kw_only=True):
    """Earlier runs have left gaps in a symbol's aggregate trades: so many, and so many ids in them."""

    message: ClassVar[str] = "Gaps of earlier runs"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing while backfill is on; without it, `crypto-quant repair`"
    venue: str
    symbol: str
    gaps: int
    missing: int


# -- candles ----------------------------------------------------------------------------------------------


class CandleStored(Event, frozen=True, kw_only=True):
    """A closed candle is committed; ``source`` is ``stream`` or ``rest``."""

    message: ClassVar[str] = "CLOSED candle stored"
    symbol: str
    timeframe: str
    open_time: str
    close: str
    volume: str
    trades: int
    source: str
    venue: str


class CandlesStored(Event, frozen=True, kw_only=True):
    """Closed candles of a timeframe are committed, which open from ``first_open`` to ``last_open``: many are recorded.

    ``candles`` are of so many ``symbols``; ``from_rest`` of them came over REST, the others over the stream. Each has
    its own line at DEBUG. ``candle_lines`` says from how many series on.
    """

    message: ClassVar[str] = "CLOSED candles stored"
    venue: str
    timeframe: str
    first_open: str
    last_open: str
    candles: int
    symbols: int
    from_rest: int


class CandleOverdue(Event, frozen=True, kw_only=True):
    """No final message came for ``slots`` candles in time; REST is asked for them."""

    message: ClassVar[str] = "Candle overdue"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing: REST is asked"
    venue: str
    symbol: str
    timeframe: str
    first_open: str
    slots: int


class CandleAbsent(Event, frozen=True, kw_only=True):
    """REST has no such candle: a hole of the exchange itself."""

    message: ClassVar[str] = "Candle absent at the exchange"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing; when proven it is recorded in `candle_absences`"
    venue: str
    symbol: str
    timeframe: str
    open_time: str


class CandlesKnownMissing(Event, frozen=True, kw_only=True):
    """Earlier runs have not stored ``slots`` candles that lie before what is stored now; they are fetched."""

    message: ClassVar[str] = "Candles missing from earlier runs"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing: they are fetched"
    venue: str
    symbol: str
    timeframe: str
    slots: int


class CandlesLeftOpen(Event, frozen=True, kw_only=True):
    """``slots`` candles from ``first_open`` to ``last_open`` (inclusive) stay missing; ``hint`` is what loads them."""

    message: ClassVar[str] = "Candles left missing"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Run the command that `hint` holds"
    venue: str
    symbol: str
    timeframe: str
    first_open: str
    last_open: str
    slots: int
    cause: str
    hint: str


class RestFailed(Event, frozen=True, kw_only=True):
    """A REST request failed; it is tried again after ``retry_in_s`` (None: given up)."""

    message: ClassVar[str] = "REST request failed"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Nothing while it is tried again; given up: `cause` says why, and `crypto-quant repair` fetches "
        "later what stayed missing"
    )
    request: str
    cause: str
    retry_in_s: float | None


# -- the store --------------------------------------------------------------------------------------------


class SchemaOutdated(Event, frozen=True, kw_only=True):
    """The tables are of an earlier version and are brought up to date now, one version after the other.

    With years of rows a step takes minutes. Whatever ends it, nothing of it has happened.
    """

    message: ClassVar[str] = "Bringing the schema up to date"
    version: int
    of: int
    step: str


class StoreReady(Event, frozen=True, kw_only=True):
    """The database is open and its schema is current."""

    message: ClassVar[str] = "Store ready"
    database: str
    tier: str
    schema_version: int


class StoreLost(Event, frozen=True, kw_only=True):
    """A batch could not be stored now; it is kept and tried again. Told at once, then less and less often."""

    message: ClassVar[str] = "Store unavailable"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "Mend what `cause` names (server, disk, right, table); the rows wait in the spool meanwhile"
    table: str
    cause: str
    pending: int
    retry_in_s: float


class StoreBack(Event, frozen=True, kw_only=True):
    """The database takes batches of this table again."""

    message: ClassVar[str] = "Store available again"
    table: str
    away_s: float


class DatabaseRevived(Event, frozen=True, kw_only=True):
    """The embedded database had died while it was in use; it runs again."""

    message: ClassVar[str] = "Embedded database started again"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Nothing: what waits is stored now. Often: see its log in `log/` of the data directory, and whether the "
        "machine is short of memory"
    )
    directory: str


class DatabaseNotRevived(Event, frozen=True, kw_only=True):
    """The embedded database has died and cannot be started now; it is tried again after ``retry_in_s``."""

    message: ClassVar[str] = "Embedded database not started"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = (
        "Mend what `cause` names (disk, memory, right); it is started as soon as that can be, or at once by "
        "`crypto-quant db start`"
    )
    directory: str
    cause: str
    retry_in_s: float


class TradesGone(Event, frozen=True, kw_only=True):
    """The store has no more what it had confirmed: so many ids between ``first`` and ``last`` (inclusive).

    Another server answers, which had not received them, or the same one has lost its last commits.
    """

    message: ClassVar[str] = "Stored trades are gone"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = (
        "Nothing: they are fetched again. See why the server forgot: a failover, a restored backup, "
        "`synchronous_commit` off"
    )
    venue: str
    symbol: str
    first: int
    last: int
    trades: int
    hint: str


class CandlesGone(Event, frozen=True, kw_only=True):
    """The store has candles no more that it had confirmed: so many that open from ``first_open`` to ``last_open``."""

    message: ClassVar[str] = "Stored candles are gone"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "Nothing: they are fetched again. See why the server forgot"
    venue: str
    symbol: str
    timeframe: str
    first_open: str
    last_open: str
    candles: int
    hint: str


class Spooling(Event, frozen=True, kw_only=True):
    """The database is away, or slower than the market: from now on batches go to the spool on disk."""

    message: ClassVar[str] = "Spooling"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing at first; if it lasts, bring the database back before `spool_limit` is reached"
    directory: str
    cause: str


class SpoolFound(Event, frozen=True, kw_only=True):
    """An earlier run has left rows in the spool; they are stored now, beside the live ones."""

    message: ClassVar[str] = "Spool found"
    directory: str
    rows: int
    records: int
    bytes: int


class SpoolElsewhere(Event, frozen=True, kw_only=True):
    """A spool holds rows that were meant for another database; it is left as it is."""

    message: ClassVar[str] = "Spool of another database"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Do what `hint` says: record into that database once more, or give its rows to this one"
    directory: str
    target: str
    bytes: int
    hint: str


class SpoolDamaged(Event, frozen=True, kw_only=True):
    """A file of the spool is valid up to ``cut_at`` (bytes) only; everything before that is used.

    A torn tail is the end of a write that a crash has cut off: those rows were never counted as safe. Anything else
    is damage, and ``kept`` is the file that a person may look into.
    """

    message: ClassVar[str] = "Spool cut"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Torn: nothing. Otherwise look at the disk; the file that `kept` names is yours to look into or delete"
    )
    file: str
    cut_at: int
    lost_bytes: int
    reason: str
    torn: bool
    kept: str


class SpoolReplayed(Event, frozen=True, kw_only=True):
    """Everything in the spool has been stored; ``duplicates`` of its rows were there already."""

    message: ClassVar[str] = "Spool replayed"
    rows: int
    duplicates: int
    took_s: float


class SpoolRefused(Event, frozen=True, kw_only=True):
    """The spool is full or its disk refuses: rows wait in memory, and beyond the limit reading pauses."""

    message: ClassVar[str] = "Spool takes no more"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "Bring the database back, or make room on the spool's disk"
    directory: str
    cause: str
    in_memory: int


class RowsSpooled(Event, frozen=True, kw_only=True):
    """The run ended before every row was stored; they are safe in the spool."""

    message: ClassVar[str] = "Rows left in the spool"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Start `crypto-quant record` again with the same database: it stores them first"
    rows: int
    directory: str
    hint: str


class RowSetAside(Event, frozen=True, kw_only=True):
    """The database refuses this row; it was kept in a file and its neighbours were stored."""

    message: ClassVar[str] = "Row set aside"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "Look into `set-aside/rows-….ndjson` in the data directory; `reason` is the database's"
    table: str
    reason: str
    row: str


class TradesConflicting(Event, frozen=True, kw_only=True):
    """Trades came whose ids are stored with another content or time; the stored ones were kept, these set aside.

    ``row`` is the first of them.
    """

    message: ClassVar[str] = "Conflicting trades set aside"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = (
        "Look into `set-aside/rows-….ndjson` in the data directory: which version is right, a person decides"
    )
    rows: int
    row: str


class BatchStored(Event, frozen=True, kw_only=True):
    """A batch is committed."""

    message: ClassVar[str] = "Batch stored"
    level: ClassVar[str] = "debug"
    table: str
    rows: int
    duplicates: int
    took_ms: float


# -- the whole --------------------------------------------------------------------------------------------


class RecordingStarted(Event, frozen=True, kw_only=True):
    """The recorder is about to connect."""

    message: ClassVar[str] = "Recording started"
    venue: str
    symbols: int
    streams: int
    links: int


class SymbolsUnchecked(Event, frozen=True, kw_only=True):
    """The exchange's REST cannot be asked for its symbols, as during a ban: recording begins on what is known.

    ``new`` names those that this database has never recorded; they are recorded as well.
    """

    message: ClassVar[str] = "Symbols not checked"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Nothing: they are checked as soon as the exchange answers. Holes are fetched then, too; look twice at the "
        "spelling of what is `new`"
    )
    symbols: int
    new: str
    cause: str
    retry_in_s: float


class SymbolsChecked(Event, frozen=True, kw_only=True):
    """The check that a start had to do without is made up for: the exchange lists every symbol."""

    message: ClassVar[str] = "Symbols checked"
    symbols: int


class SymbolsUnknown(Event, frozen=True, kw_only=True):
    """Symbols whose recording began unchecked are not listed at the exchange; the others are recorded."""

    message: ClassVar[str] = "Unknown symbols"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "Nothing will come of them: start again without them, or as `hint` writes them"
    symbols: str
    hint: str


class SymbolNotTrading(Event, frozen=True, kw_only=True):
    """A symbol exists but does not trade now; its streams may stay silent."""

    message: ClassVar[str] = "Symbol not trading"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing, or leave the symbol out"
    symbol: str
    status: str


class ClockOff(Event, frozen=True, kw_only=True):
    """This machine's clock is ahead of the exchange's by more than a second (``ahead_s`` below 0: behind).

    The record has the exchange's times and is not touched; `received_at` is wrong by as much. Lags are told without it.
    """

    message: ClassVar[str] = "Clock off"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Keep the time by NTP: `timedatectl set-ntp true`, or run chrony"
    ahead_s: float


class ClockRight(Event, frozen=True, kw_only=True):
    """This machine's clock agrees with the exchange's again."""

    message: ClassVar[str] = "Clock right"


class StartInterrupted(Event, frozen=True, kw_only=True):
    """A signal came before recording had begun: what was opened is closed again, and nothing had been received."""

    message: ClassVar[str] = "Ended before recording began"


class DrainStep(Event, frozen=True, kw_only=True):
    """One step of the graceful shutdown is done."""

    message: ClassVar[str] = "Drain"
    step: str
    pending: int


class Draining(Event, frozen=True, kw_only=True):
    """The graceful shutdown goes on: so many rows are still to be stored, and within so long at most.

    What is not stored by then waits in the spool for the next run.
    """

    message: ClassVar[str] = "Draining"
    pending: int
    deadline_s: float


class RowsLeft(Event, frozen=True, kw_only=True):
    """The drain ended before every row was stored, and the spool could not take them; they are in ``file``."""

    message: ClassVar[str] = "Rows not stored"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "Load the file when the database is back: `crypto-quant db load FILE`"
    rows: int
    file: str
    hint: str


class PartitionCreated(Event, frozen=True, kw_only=True):
    """A native range partition was made."""

    message: ClassVar[str] = "Partition created"
    level: ClassVar[str] = "debug"
    table: str
    partition: str


class OldRowsDropped(Event, frozen=True, kw_only=True):
    """A chunk or partition was dropped by a declared rule: ``first_day`` inclusive, ``end_day`` exclusive, UTC."""

    message: ClassVar[str] = "Old rows dropped"
    table: str
    first_day: str
    end_day: str
    rows: int


class OldRowsKept(Event, frozen=True, kw_only=True):
    """A chunk or partition is due to be dropped and was kept; it is tried again."""

    message: ClassVar[str] = "Old rows kept"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Nothing while `reason` is that somebody reads; otherwise do what it says (export first, or prove the rows)"
    )
    table: str
    first_day: str
    end_day: str
    reason: str


class UpkeepFailed(Event, frozen=True, kw_only=True):
    """The declared rules could not be kept this time; recording goes on."""

    message: ClassVar[str] = "Upkeep failed"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Nothing unless it repeats: then mend what `cause` names"
    cause: str


class RecordSealed(Event, frozen=True, kw_only=True):
    """Closed stretches of the record were sealed: what is changed in them from now on is found by `verify --deep`.

    ``replaced`` of the seals are of stretches that were repaired since they were first sealed.
    """

    message: ClassVar[str] = "Record sealed"
    seals: int
    rows: int
    replaced: int


class SealRefused(Event, frozen=True, kw_only=True):
    """A stretch was not sealed: its rows are not those that are claimed, or not those that were sealed before."""

    message: ClassVar[str] = "Stretch not sealed"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "`crypto-quant verify --deep` names what differs, `crypto-quant repair --deep` fetches it"
    venue: str
    symbol: str
    stream: str
    first: int
    last: int
    claimed: int
    stored: int


class RecordDiffers(Event, frozen=True, kw_only=True):
    """The rows of a day are not those that are claimed: something has changed the database behind our back.

    ``missing`` rows are claimed and not there, or never came; ``unexplained`` rows are there and not claimed.
    """

    message: ClassVar[str] = "Record differs from its claims"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "`crypto-quant verify --deep` names what differs, `crypto-quant repair --deep` fetches it"
    venue: str
    symbol: str
    stream: str
    day: str
    missing: int
    unexplained: int


class BoardLost(Event, frozen=True, kw_only=True):
    """What the recorder does cannot be shown to watchers (status, page, metrics); recording goes on."""

    message: ClassVar[str] = "Board not written"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = "Make room or give the right that `cause` names; recording goes on without the board"
    cause: str


class WatchingStarted(Event, frozen=True, kw_only=True):
    """Watchers are answered: ``page`` and ``metrics`` are URLs, empty where there is none."""

    message: ClassVar[str] = "Watching started"
    page: str
    metrics: str


class CompanionEnded(Event, frozen=True, kw_only=True):
    """The process that answers watchers has ended by itself and is started again; recording goes on."""

    message: ClassVar[str] = "Watching process ended"
    level: ClassVar[str] = "warning"
    remedy: ClassVar[str] = (
        "Nothing: it is started again on the same ports. Should it end again and again, `cause` says why; "
        "`crypto-quant serve` beside the recorder shows the same"
    )
    cause: str
    retry_in_s: float


class SetAsideLost(Event, frozen=True, kw_only=True):
    """What is set aside from now on is counted but no longer kept: the directory is full or cannot be written."""

    message: ClassVar[str] = "Set-aside files closed"
    level: ClassVar[str] = "error"
    remedy: ClassVar[str] = "Save and empty the directory, or make it writable"
    directory: str
    cause: str
