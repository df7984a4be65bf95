"""Which ids a chunk proves: those of its rows, no more and no less, however it is divided."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.flow.chunk import AllSeries, Chunk, Run, Series
from crypto_quant.seams import Covered, Source

BTC, ETH = Series("spot", "btcusdt", Source.STREAM), Series("spot", "ethusdt", Source.STREAM)
VOID = Series("spot", "btcusdt", Source.VOID)


def test_a_series_keeps_its_number() -> None:
    every = AllSeries()
    assert [every.number(series) for series in (BTC, ETH, BTC, VOID, Series(*ETH))] == [0, 1, 0, 2, 1]


def test_runs_that_follow_each_other_make_one_range_a_series() -> None:
    every = AllSeries()
    btc, eth, void = map(every.number, (BTC, ETH, VOID))
    chunks = [
        Chunk(b"", 1, [(btc, 5, 5), (eth, 90, 90), (btc, 6, 6)]),
        Chunk(b"", 1, [(void, 7, 7), (btc, 8, 10), (eth, 91, 99)]),
    ]
    assert sorted(every.covered_by(chunks), key=lambda each: each.first) == [
        Covered("spot", "btcusdt", 5, 6, Source.STREAM),
        Covered("spot", "btcusdt", 7, 7, Source.VOID),
        Covered("spot", "btcusdt", 8, 10, Source.STREAM),
        Covered("spot", "ethusdt", 90, 99, Source.STREAM),
    ]
    assert every.covered_by([]) == []


RUNS = st.lists(st.tuples(st.sampled_from([BTC, ETH, VOID]), st.integers(0, 30), st.integers(0, 4)))


@given(st.lists(RUNS))
def test_exactly_the_ids_of_the_runs_are_covered(told: list[list[tuple[Series, int, int]]]) -> None:
    every = AllSeries()
    chunks = [Chunk(b"", 1, [(every.number(s), low, low + more) for s, low, more in runs]) for runs in told]
    assert covered_ids(every, chunks) == {
        (*series, number) for runs in told for series, low, more in runs for number in range(low, low + more + 1)
    }


@given(st.lists(st.tuples(st.sampled_from([BTC, ETH]), st.integers(0, 40)), min_size=2, unique=True))
def test_each_half_proves_its_own_rows(trades: list[tuple[Series, int]]) -> None:
    every = AllSeries()
    runs: list[Run] = []
    for series, number in trades:
        # as the intake makes them: a run goes on while the ids of its symbol do
        going_on = [at for at, run in enumerate(runs) if run[0] == every.number(series) and run[2] == number - 1]
        if going_on:
            runs[going_on[0]] = (*runs[going_on[0]][:2], number)
        else:
            runs.append((every.number(series), number, number))
    rows = [f"2026-10-01 12:00:00+00\t{s.venue}\t{s.symbol}\t{n}\t1.0\t1.0\t1\t1\tt\t\\N\n".encode() for s, n in trades]
    chunk = Chunk(b"".join(rows), len(rows), runs, received_ns=5, event_ns=7)
    first, second = every.halves(chunk)
    middle = len(rows) // 2
    for half, held in ((first, trades[:middle]), (second, trades[middle:])):
        assert len(half) == half.rows == len(held)
        assert (half.received_ns, half.event_ns) == (5, 7)
        assert covered_ids(every, [half]) == {(*series, number) for series, number in held}
    assert first.data + second.data == chunk.data


def covered_ids(every: AllSeries, chunks: list[Chunk]) -> set[tuple[str, str, Source, int]]:
    return {
        (each.venue, each.symbol, each.source, number)
        for each in every.covered_by(chunks)
        for number in range(each.first, each.last + 1)
    }
