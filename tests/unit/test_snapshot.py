"""What follows from a snapshot alone."""

import pytest
from snapshots import snapshot

from crypto_quant.snapshot import GapView, LinkState, Phase

GAP = GapView(symbol="btcusdt", first=5, last=9)


def test_a_link_is_up_once_it_is_connected() -> None:
    assert [state for state in LinkState if state.up] == [LinkState.OPEN, LinkState.DELIVERING]


def test_rows_of_both_kinds_are_pending() -> None:
    assert snapshot(counts={"pending_trades": 3, "pending_candles": 4}).pending == 7
    assert snapshot(counts={}).pending == 0


def test_gaps_are_counted_beyond_those_that_are_shown() -> None:
    assert snapshot(counts={"gaps_open": 1200}, gaps=(GAP,)).gaps_open == 1200
    assert snapshot(counts={}, gaps=(GAP,)).gaps_open == 1


@pytest.mark.parametrize("phase", Phase)
def test_it_is_ready_in_the_midst_of_recording_alone(phase: Phase) -> None:
    assert snapshot(phase=phase).ready is (phase in (Phase.RECORDING, Phase.PAUSED))
