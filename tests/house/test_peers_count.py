"""The comparison with other recorders counts what it says: a lost, a doubled and a changed row are each seen."""

import importlib.util
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "peers" / "contest.py"
PRINTED = {("BTCUSDT", number): (Decimal("60000.01"), Decimal(number)) for number in range(1, 6)}
STORED = [(symbol, number, *content) for (symbol, number), content in PRINTED.items()]


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("contest", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "contest", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("rows", "stored", "lost", "doubled", "differing"),
    [
        pytest.param(STORED, 5, 0, 0, 0, id="the tape"),
        pytest.param([], 0, 5, 0, 0, id="nothing"),
        pytest.param(STORED[1:], 4, 1, 0, 0, id="one lost"),
        pytest.param([*STORED, STORED[2], STORED[2]], 5, 0, 2, 0, id="one three times"),
        pytest.param([*STORED[1:], STORED[1]], 4, 1, 1, 0, id="one lost, another doubled"),
        pytest.param(
            [*STORED[1:], ("BTCUSDT", 1, Decimal("60000.01"), Decimal("1.00000001"))], 5, 0, 0, 1, id="one changed"
        ),
        pytest.param([*STORED, ("ETHUSDT", 1, *PRINTED["BTCUSDT", 1])], 5, 0, 0, 1, id="one that was never printed"),
    ],
)
def test_the_count(
    contest: ModuleType, rows: list[tuple[object, ...]], stored: int, lost: int, doubled: int, differing: int
) -> None:
    assert contest.compare(PRINTED, rows) == contest.Count(5, stored, lost, doubled, differing)
