"""Frames read at once become the same rows, the same proof and the same account as frames that come one by one."""

import random
from typing import Any

from flow_doubles import NOW_NS, Journal, MemoryQuarantine, MemorySink, SetClock, agg_frame, kline_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_quant.binance.decode import decode_all
from crypto_quant.continuity import CandleClock
from crypto_quant.errors import UndecodableFrame
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe, Venue

START_MS, START_US = 1_790_856_000_000, 1_790_856_000_000_000

trades = st.builds(
    agg_frame,
    st.integers(1, 40),
    symbol=st.sampled_from(["BTCUSDT", "ETHUSDT", "NOBODYUSDT"]),
    price=st.sampled_from(["64250.10000000", "0.5", "1e5", "NaN", "1.0\\n2.0", "1.123456789", "-1.0", "١.٠"]),
    quantity=st.sampled_from(["0.01000000", "7", ""]),
    time=st.integers(START_MS, START_MS + 3_000) | st.integers(START_US, START_US + 3_000_000),
    first=st.sampled_from([None, None, -1, 5]),
    last=st.sampled_from([None, None, -1, 4]),
)
void = st.builds(
    agg_frame, st.integers(1, 40), price=st.just("0.00000000"), quantity=st.just("0.00000000"),
    first=st.just(-1), last=st.just(-1),
)  # fmt: skip
rising = st.builds(
    lambda first, count: [agg_frame(number) for number in range(first, first + count)],
    st.integers(1, 40), st.integers(1, 10),
)  # fmt: skip
others = st.sampled_from(
    [b"{", b"", b"[]", b'{"result":null,"id":1}', b'{"e":"serverShutdown","E":5}', kline_frame(), b"\xff"]
)
frames = st.lists(st.one_of(trades, trades, void, others).map(lambda frame: [frame]) | rising, max_size=30).map(
    lambda groups: [frame for group in groups for frame in group]
)


@given(st.lists(frames, max_size=4), st.sampled_from([0, 0, 1]))
@settings(max_examples=300)
def test_how_frames_are_read_changes_nothing(reads: list[list[bytes]], link: int) -> None:
    together = outcome(reads, link)
    alone = outcome([[frame] for read in reads for frame in read], link)
    assert together == alone


@given(frames)
def test_all_are_decoded_as_each_alone(given_frames: list[bytes]) -> None:
    alone = [decode_all([frame])[0] for frame in given_frames]
    assert [plain(each) for each in decode_all(given_frames)] == [plain(each) for each in alone]


def plain(message: Any) -> Any:
    return str(message) if isinstance(message, UndecodableFrame) else message


def outcome(reads: list[list[bytes]], link: int) -> dict[str, Any]:
    stats, journal, quarantine = PipelineStats(0), Journal(), MemoryQuarantine()
    writer = TimescaleWriter(
        MemorySink(), stats=stats, clock=SetClock(), quarantine=quarantine, emit=journal, rng=random.Random(1)  # noqa: S311
    )  # fmt: skip
    intake = Intake(
        Venue.SPOT,
        ["btcusdt", "ethusdt"],
        {("btcusdt", Timeframe.M1): CandleClock(Timeframe.M1, 10**10)},
        writer=writer,
        stats=stats,
        quarantine=quarantine,
        emit=journal,
    )
    messages = [message for read in reads for message in intake.frames(read, NOW_NS, link)]
    chunks = [chunk for _ in range(2) for chunk in writer._trades.take(0).chunks]
    covered = writer._series.covered_by(chunks)
    stored = {batch.table: sorted(batch.rows) for batch in writer.unstored()}
    return {
        "messages": messages,
        "rows": stored,
        "covered": sorted(
            (each.symbol, each.source, number) for each in covered for number in range(each.first, each.last + 1)
        ),
        "waiting": sum(map(len, chunks)),
        "set aside": quarantine.kept,
        "told": journal.events,
        "counted": {name: value for name, value in vars(stats).items() if isinstance(value, int)},
    }
