"""A snapshot as the page's browser gets it: parts of JSON, each encoded once and sent only when it has changed.

Times are ms since the epoch, ids text: JavaScript's numbers hold neither ns nor every id.
"""

from typing import Any

import msgspec

from crypto_quant import health
from crypto_quant.market import NS_PER_MS
from crypto_quant.snapshot import DiskView, Snapshot, Spread, StreamView
from crypto_quant.web.verdict import Verdict

_STATES = ("live", "quiet", "down")
# so many of the last warnings are shown
_HAPPENINGS = 60

_encode = msgspec.json.Encoder().encode


def parts(shown: Snapshot, verdict: Verdict, *, alive: bool) -> dict[str, bytes]:
    """Return the parts of a recorder's state, by name, as JSON."""
    streams = shown.streams
    return {
        "head": _encode({**_head(shown, verdict), "alive": alive}),
        "links": _encode(
            [
                [each.link, each.state.value, _ms(each.since_ns), each.streams, each.attempt, each.cause]
                for each in shown.links
            ]
        ),
        # what names the rows of ``rows``, in the same order
        "names": _encode([[each.stream, each.symbol, each.timeframe] for each in streams]),
        "rows": _encode(
            [
                [_STATES.index(each.state.value) for each in streams],
                [_last(each) for each in streams],
                [_ms(each.seen_ns) for each in streams],
                [round(each.rate, 1) for each in streams],
                [_short(each.lag_ms) for each in streams],
                [each.gaps for each in streams],
                [each.missing for each in streams],
            ]
        ),
        "gaps": _encode([[each.symbol, str(each.first), str(each.last), each.note] for each in shown.gaps]),
        "happenings": _encode(
            [
                [_ms(each.at_ns), each.level, each.message, {name: str(value) for name, value in each.fields.items()}]
                for each in shown.happenings[-_HAPPENINGS:]
            ]
        ),
    }


def point(shown: Snapshot) -> list[float | None]:
    """Return what the charts show of one moment; ``POINT`` names its members."""
    spreads = (shown.commit_lag, shown.event_lag, shown.write_time)
    return [
        shown.taken_ns // NS_PER_MS,
        round(shown.rate, 1),
        round(shown.frame_rate, 1),
        *(_short(value) for spread in spreads for value in (spread.p50_ms, spread.p95_ms, spread.p99_ms)),
        shown.pending,
    ]


POINT = (
    "at", "rate", "frames", "commit50", "commit95", "commit99", "event50", "event95", "event99",
    "write50", "write95", "write99", "pending",
)  # fmt: skip


def _head(shown: Snapshot, verdict: Verdict) -> dict[str, Any]:
    counts = shown.counts
    return {
        "verdict": verdict,
        "version": shown.version,
        "pid": shown.pid,
        "started": _ms(shown.started_ns),
        "taken": _ms(shown.taken_ns),
        "phase": shown.phase,
        "venue": shown.venue,
        "symbols": shown.symbols,
        "streams": len(shown.streams),
        "rate": round(shown.rate, 1),
        "frames": round(shown.frame_rate, 1),
        "commit": _quantiles(shown.commit_lag),
        "event": _quantiles(shown.event_lag),
        "write": _quantiles(shown.write_time),
        "counts": counts,
        "pending": shown.pending,
        "gaps": shown.gaps_open,
        "missing": counts.get("trades_missing", 0),
        "linksUp": sum(each.state.up for each in shown.links),
        "links": len(shown.links),
        "store": {
            "database": shown.store.database,
            "tier": shown.store.tier,
            "away": _ms(shown.store.away_since_ns),
            "committed": _ms(shown.store.last_commit_ns),
            "failures": shown.store.failures,
            "pool": [shown.store.pool_busy, shown.store.pool_open, shown.store.pool_limit],
        },
        "spool": shown.spool,
        "disks": [_disk(each) for each in shown.disks],
        "process": shown.process,
    }


def _quantiles(spread: Spread) -> list[float | None]:
    return [_short(spread.p50_ms), _short(spread.p95_ms), _short(spread.p99_ms)]


def _last(stream: StreamView) -> str | int | None:
    if stream.last < 0:
        return None
    return str(stream.last) if stream.timeframe is None else stream.last // NS_PER_MS


def _ms(time_ns: int | None) -> int | None:
    return None if time_ns is None else time_ns // NS_PER_MS


def _short(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 2)


def _disk(disk: DiskView) -> dict[str, Any]:
    level = health.disk_level(disk.free_bytes, disk.total_bytes) if disk.total_bytes else None
    return {**msgspec.to_builtins(disk), "level": level}
