"""What ``status`` shows of a recorder, as lines of text for a width; decides, and prints nothing.

Colours are of those that can be read on a light and on a dark background, and none of them says anything that no word
says too. Texts of the exchange are made printable; none of them is ever taken for markup.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from crypto_quant.health import Level, Problem
from crypto_quant.market import NS_PER_S, utc_text
from crypto_quant.snapshot import GapView, Happening, Phase, Snapshot, StreamState, StreamView
from crypto_quant.words import brief_span, milliseconds, printable, rate, size, span

GOOD, BAD, WORTH_A_LOOK = "color(28)", "color(160)", "color(166)"
LABEL, HEADING = "dim", "bold"
# from this width on columns have room between them
_ROOMY = 60
_SYMBOL_WIDEST = 24
_BETWEEN_FIELDS = "   "
_MARKS = {
    Phase.STARTING: ("○", WORTH_A_LOOK),
    Phase.RECORDING: ("●", GOOD),
    Phase.PAUSED: ("‖", BAD),
    Phase.DRAINING: ("◌", WORTH_A_LOOK),
    Phase.ENDED: ("◌", WORTH_A_LOOK),
}
_PROBLEMS = {Level.WRONG: ("✘", f"{HEADING} {BAD}"), Level.NOTE: ("!", WORTH_A_LOOK), Level.BUSY: ("…", "")}
_STATES = {StreamState.LIVE: GOOD, StreamState.QUIET: WORTH_A_LOOK, StreamState.DOWN: BAD}
_LEVELS = {"warning": WORTH_A_LOOK, "error": BAD, "critical": BAD}


class Order(StrEnum):
    """By what streams are sorted."""

    PROBLEMS = "problems"
    SYMBOL = "symbol"
    RATE = "rate"
    AGE = "age"
    LAG = "lag"
    GAPS = "gaps"


class _Column(NamedTuple):
    """``keep``: the lowest goes first when there is no room."""

    heading: str
    cell: Callable[[StreamView, int], str]
    keep: int
    order: Order | None = None
    right: bool = True


# -- the head ---------------------------------------------------------------------------------------------


def head(snapshot: Snapshot, now_ns: int, width: int, *, alive: bool = True) -> list[Text]:
    """Return who it is and how it does, in as many lines as the width asks for."""
    died = not alive and snapshot.phase is not Phase.ENDED
    mark, style = ("✘", BAD) if died else _MARKS[snapshot.phase]
    up = span((now_ns - snapshot.started_ns) / NS_PER_S)
    who = [
        _field("", f"crypto-quant {snapshot.version}", HEADING),
        _field("", f"{mark} {'died' if died else snapshot.phase}", f"{HEADING} {style}"),
        *([_field("up", up)] if alive else []),
        _field("", snapshot.venue),
        _field("pid", str(snapshot.pid)),
    ]
    return [*_flowed(who, width), *_flowed(list(_figures(snapshot)), width)]


def _figures(snapshot: Snapshot) -> Iterable[Text]:
    counts, store, spool = snapshot.counts, snapshot.store, snapshot.spool
    up = sum(each.state.up for each in snapshot.links)
    yield _field("trades", f"{rate(snapshot.rate)}/s")
    yield _field("pending", f"{snapshot.pending:,}")
    yield _field("gaps", f"{snapshot.gaps_open:,}", BAD if snapshot.gaps_open else "")
    yield _field("links", f"{up} of {len(snapshot.links)}", "" if up == len(snapshot.links) else BAD)
    waits = f"{spool.rows:,} rows, {size(spool.bytes)}" if spool.rows else "empty" if spool.directory else "none"
    yield _field("spool", waits, BAD if spool.refused else WORTH_A_LOOK if spool.rows else "")
    for label, lag in (("exchange to commit", snapshot.event_lag), ("arrival to commit", snapshot.commit_lag)):
        if lag.p50_ms is not None:
            yield _field(label, f"p50 {milliseconds(lag.p50_ms)} p99 {milliseconds(lag.p99_ms)}")
    where = printable(f"{store.database} {store.tier}".rstrip())
    if store.away_since_ns is None:
        yield _field("store", where)
    else:
        yield _field("store", f"AWAY {where}", BAD)
    yield _field("streams", f"{len(snapshot.streams):,}")
    yield _field("frames", f"{rate(snapshot.frame_rate)}/s")
    yield _field("stored", f"{counts.get('trades_written', 0):,}")
    if counts.get("candles_written"):
        yield _field("candles", f"{counts['candles_written']:,}")
    if snapshot.process.resident_bytes:
        yield _field("memory", size(snapshot.process.resident_bytes))
    if snapshot.disks:
        yield _field("disk left", size(min(each.free_bytes for each in snapshot.disks)))


def _field(label: str, value: str, style: str = "") -> Text:
    return Text.assemble((f"{label} " if label else "", LABEL), (value, style))


def _flowed(fields: Sequence[Text], width: int) -> list[Text]:
    """Return the fields side by side, in as few lines as they need; one that is too long is cut."""
    lines: list[Text] = []
    for each in fields:
        if lines and lines[-1].cell_len + len(_BETWEEN_FIELDS) + each.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], _BETWEEN_FIELDS, each)
        else:
            each.truncate(width, overflow="ellipsis")
            lines.append(each)
    return lines


# -- what is wrong, and what happened ---------------------------------------------------------------------


def problem_lines(problems: Sequence[Problem], now_ns: int, width: int | None = None) -> list[Text]:
    """Return each with its remedy below it, as many lines as they take in a width (None: one each)."""
    lines = []
    for each in problems:
        mark, style = _PROBLEMS[each.level]
        lines += _wrapped(f"{mark} ", printable(each.line(now_ns)), style, width)
        if each.remedy:
            lines += _wrapped("  ", printable(each.remedy), "", width)
    return lines


def without_snapshot(pid: str, problems: Sequence[Problem], now_ns: int, width: int | None) -> list[Text]:
    """Return all that there is to say of a recorder that shows nothing that can be read."""
    return [Text(f"recorder, pid {pid}", HEADING), *problem_lines(problems, now_ns, width)]


def happening_line(each: Happening) -> Text:
    """Return one warning or error in a line: its time (UTC), message and fields."""
    fields = " ".join(f"{name}={_value(value)}" for name, value in each.fields.items() if value not in (None, "", 0))
    when = utc_text(each.at_ns // NS_PER_S * NS_PER_S)[11:19]
    style = _LEVELS.get(each.level, "")
    said = f" {printable(each.message)} "
    return Text.assemble((when, LABEL), " ", (printable(each.level), style), said, (printable(fields), LABEL))


def gap_line(each: GapView) -> Text:
    """Return one hole in the trades, and what is known of it."""
    ids = f"id {each.first}" if each.first == each.last else f"ids {each.first} to {each.last}"
    note = f": {printable(each.note)}" if each.note else ""
    return Text.assemble((f"{printable(each.symbol)} ", HEADING), f"{ids} ({each.last - each.first + 1:,}){note}")


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if " " in text else text


def _wrapped(begin: str, text: str, style: str, width: int | None) -> list[Text]:
    """Return a text in lines of at most ``width`` cells, the first one begun with ``begin``, the others below it."""
    room = None if width is None else max(8, width - cell_len(begin))
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if room is not None and line and cell_len(longer) > room:
            lines.append(line)
            longer = word
        line = longer
    lines.append(line)
    return [
        Text.assemble((begin if not at else " " * cell_len(begin), style), (each, style))
        for at, each in enumerate(lines)
    ]


# -- the streams ------------------------------------------------------------------------------------------


def ordered(streams: Sequence[StreamView], order: Order, now_ns: int) -> list[StreamView]:
    """Return them sorted: by name, or with most of what is asked for first."""
    by_name = sorted(streams, key=lambda each: (each.symbol, each.timeframe is not None, each.stream))
    most: dict[Order, Callable[[StreamView], float]] = {
        Order.PROBLEMS: _trouble,
        Order.RATE: lambda each: each.rate,
        Order.AGE: lambda each: now_ns if each.seen_ns is None else now_ns - each.seen_ns,
        Order.LAG: lambda each: float("-inf") if each.lag_ms is None else each.lag_ms,
        Order.GAPS: lambda each: each.missing,
    }
    return by_name if order is Order.SYMBOL else sorted(by_name, key=most[order], reverse=True)


def _trouble(each: StreamView) -> float:
    return 4 * (each.state is StreamState.DOWN) + 2 * bool(each.gaps) + (each.state is StreamState.QUIET)


class StreamTable:
    """The table of these streams in a width (None: as wide as they are): its heading, and a line for each.

    ``least`` are the widths that its columns have had, by heading, and is kept up: with it they stay where they are
    while one looks through many.
    """

    def __init__(
        self,
        streams: Sequence[StreamView],
        now_ns: int,
        width: int | None,
        order: Order | None = None,
        least: dict[str, int] | None = None,
    ) -> None:
        self._streams = streams
        self._now_ns = now_ns
        self._order = order
        self._columns, self._widths, self._between = _fitted(streams, now_ns, width, {} if least is None else least)

    def heading(self) -> Text:
        """Return the names of the columns; the one that they are sorted by is marked."""
        cells = []
        for column, width in zip(self._columns, self._widths, strict=True):
            by = column.order is not None and column.order is self._order
            cells.append((_placed(column, column.heading, width), f"{HEADING} underline" if by else HEADING))
        return _row(cells, self._between)

    def line(self, number: int) -> Text:
        """Return the line of a stream."""
        stream = self._streams[number]
        cells = []
        for column, width in zip(self._columns, self._widths, strict=True):
            text = column.cell(stream, self._now_ns)
            style = _STATES[stream.state] if column is _STATE else BAD if column is _GAPS and stream.gaps else ""
            cells.append((_placed(column, text, width), style))
        return _row(cells, self._between)


def _row(cells: Sequence[tuple[str, str]], between: str) -> Text:
    line = Text()
    for at, (text, style) in enumerate(cells):
        line.append(between if at else "")
        line.append(text, style)
    line.rstrip()
    return line


def _placed(column: _Column, text: str, width: int) -> str:
    room = width - cell_len(text)
    if room < 0:
        return f"{set_cell_size(text, width - 1)}…"
    return " " * room + text if column.right else text + " " * room


def _fitted(
    streams: Sequence[StreamView], now_ns: int, width: int | None, least: dict[str, int]
) -> tuple[Sequence[_Column], Sequence[int], str]:
    """Return the columns that have room, how wide they are, and what stands between them."""
    between = "  " if width is None or width >= _ROOMY else " "
    widths = {}
    for column in _COLUMNS:
        widest = max((cell_len(column.cell(each, now_ns)) for each in streams), default=0)
        widths[column] = least[column.heading] = max(widest, cell_len(column.heading), least.get(column.heading, 0))
    if width is not None:
        widths[_SYMBOL] = min(widths[_SYMBOL], _SYMBOL_WIDEST, max(4, width // 3))
    left = list(_COLUMNS)
    while (
        width is not None and len(left) > 1 and sum(widths[each] + len(between) for each in left) > width + len(between)
    ):
        left.remove(min(left, key=lambda column: column.keep))
    return left, [widths[each] for each in left], between


def _age(stream: StreamView, now_ns: int) -> str:
    return "never" if stream.seen_ns is None else brief_span((now_ns - stream.seen_ns) / NS_PER_S)


def _last(stream: StreamView, _now_ns: int) -> str:
    if stream.last < 0:
        return "-"
    if stream.timeframe is None:
        return str(stream.last)
    return utc_text(stream.last // NS_PER_S * NS_PER_S)[:19].replace("T", " ")


def _rate(stream: StreamView, _now_ns: int) -> str:
    return rate(stream.rate) if stream.timeframe is None else "-"


def _lag(stream: StreamView, _now_ns: int) -> str:
    return milliseconds(stream.lag_ms)


def _gaps(stream: StreamView, _now_ns: int) -> str:
    return f"{stream.gaps:,} ({stream.missing:,})" if stream.gaps else "0"


def _name(stream: StreamView, _now_ns: int) -> str:
    return printable(stream.stream.rpartition("@")[2])


_SYMBOL = _Column("symbol", lambda stream, _now_ns: printable(stream.symbol), 9, Order.SYMBOL, right=False)
_GAPS = _Column("gaps", _gaps, 4, Order.GAPS)
_STATE = _Column("state", lambda stream, _now_ns: stream.state, 8, Order.PROBLEMS, right=False)
_COLUMNS = (
    _SYMBOL,
    _Column("stream", _name, 7, right=False),
    _Column("rate/s", _rate, 5, Order.RATE),
    _Column("age", _age, 6, Order.AGE),
    _Column("lag", _lag, 2, Order.LAG),
    _Column("last", _last, 1),
    _GAPS,
    _STATE,
)
