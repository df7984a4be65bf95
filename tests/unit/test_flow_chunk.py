"""Which ids a chunk proves: those of its rows, no more and no less, however it is divided."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.flow.chunk import AllSeries, Arrival, Chunk, Run, Series
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
        assert half.arrivals == ([Arrival(len(held), 5, 7)] if held else [])
        assert covered_ids(every, [half]) == {(*series, number) for series, number in held}
    assert first.data + second.data == chunk.data


def test_an_open_chunk_grows_until_it_is_closed_and_says_then_what_it_proves() -> None:
    every = AllSeries()
    btc = every.number(Series("spot", "btcusdt", Source.STREAM))
    asked: list[list[Run]] = []

    def prove() -> list[Run]:
        asked.append([(btc, 1, 3)])
        return asked[-1]

    line = b"2026-10-01 12:00:00+00\tspot\tbtcusdt\t%d\t1.0\t1.0\t1\t1\tt\t\\N\n"
    chunk = Chunk(line % 1, 1, received_ns=5, event_ns=4, prove=prove)
    chunk.grow(line % 2 + line % 3, Arrival(2, 15, 14))
    assert (chunk.is_open, len(chunk), chunk.rows, asked) == (True, 3, 3, [])
    chunk.close()
    chunk.close()
    assert (chunk.is_open, chunk.proves, len(asked)) == (False, [(btc, 1, 3)], 1)
    # the rows of one half came with two reads
    first, second = every.halves(chunk)
    assert [first.arrivals, second.arrivals] == [[Arrival(1, 5, 4)], [Arrival(2, 15, 14)]]
    assert covered_ids(every, [second]) == {("spot", "btcusdt", Source.STREAM, number) for number in (2, 3)}
    last = every.halves(second)[1]
    assert (last.arrivals, last.received_ns, last.data) == ([Arrival(1, 15, 14)], 15, line % 3)


def covered_ids(every: AllSeries, chunks: list[Chunk]) -> set[tuple[str, str, Source, int]]:
    return {
        (each.venue, each.symbol, each.source, number)
        for each in every.covered_by(chunks)
        for number in range(each.first, each.last + 1)
    }
