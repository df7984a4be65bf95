"""Every world ends with changes behind its back; a proof that looks away somewhere does not pass."""

from collections.abc import Callable
from typing import Any

import pytest

from crypto_quant.claims import Claims, Held, hold
from crypto_quant.continuity import RangeSet
from crypto_quant.sim.world import tampering
from crypto_quant.sim.world.world import run

SEEDS = range(6)


def between_rows_alone(rows: RangeSet, before: Claims, after: Claims, bounds: tuple[int, int] | None) -> Held:
    """Hold rows against claims as it once was done: whatever is gone at an edge is believed."""
    ranges = rows.ranges()
    return hold(rows, before, after, (ranges[0][0], ranges[-1][1]) if ranges else None)


def blind_to(kind: str) -> Callable[..., Held]:
    def without(*given: Any) -> Held:
        held = hold(*given)
        return held._replace(faults=[each for each in held.faults if each.kind != kind])

    return without


@pytest.mark.parametrize("blind", [between_rows_alone, blind_to("unclaimed"), lambda *_: Held([], [], [])])
def test_a_proof_that_looks_away_is_found_out(blind: Callable[..., Held], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tampering, "hold", blind)
    failures = [outcome.failure for outcome in map(run, SEEDS) if outcome.failure]
    assert failures
    assert all("the record is called whole" in failure for failure in failures)


def test_a_record_that_is_whole_is_not_called_otherwise() -> None:
    assert [outcome.failure for outcome in map(run, SEEDS)] == [""] * len(SEEDS)
