"""The packaged migrations, without a database."""

import pytest

from crypto_quant.diagnosis.known_bugs import TIMESCALE_MIN, version_tuple
from crypto_quant.seams import COLUMNS, Table
from crypto_quant.store.migrate import EXPECTED, migrations
from crypto_quant.store.tier import Tier

# A released migration is never edited: databases remember its checksum. Add a line for each new one.
RELEASED = {
    "0001_tables": "57a79bd8e7fd03eb20f14b7b3d3cb1b69bb5531aab787629bd41db6b0b2a00ca",
    "0002_coverage": "be3aa5b346a4596db06e406cc2d8eed7dd3ad8fcd85cf9e620837ba510a8baf8",
    "0003_verdicts": "d508d5c5bbc4b06515f75be97845825b11a2011b0434ba09d296357023f487b5",
    "0004_candle_coverage": "cff62b950909a374f5b670f5243ecc42cc3f70c240fc72045a7103829b39bfa9",
    "0005_dropped": "9eeea6ea8103392a15b100834c0b7ee67066abef95c10d2ce7b3006c81a39e2c",
    "0006_seals": "5533d869f4fdba38411a6d4357ed535662efdaa753340aeb3d799fe59a6412fb",
    "0007_replica_identity": "26bb18b967023746143fbf6ca38c8877ae3f040bccf92f0e16b546a03c04831e",
    "0008_symbols": "0b60ee1bebfb8210e0e887fc44ac20802be0b285b0b4a1c1e929cf29f185b2fc",
}


def test_versions_are_numbered_without_a_hole() -> None:
    assert [m.version for m in migrations()] == list(range(1, len(migrations()) + 1))


def test_released_migrations_are_what_they_were() -> None:
    assert {f"{m.version:04}_{m.name}": m.checksum for m in migrations()} == RELEASED


def test_each_family_gets_its_own_lines() -> None:
    first = migrations()[0]
    plain, hyper = first.for_tier(Tier.POSTGRESQL), first.for_tier(Tier.TIMESCALE_APACHE)
    assert plain.count("PARTITION BY RANGE (time)") == len(Table)
    assert "create_hypertable" not in plain
    assert hyper.count("SELECT create_hypertable") == len(Table)
    assert "PARTITION BY" not in hyper
    assert hyper == first.for_tier(Tier.TIMESCALE_COMMUNITY)


def test_expected_columns_are_those_of_a_row() -> None:
    assert {table: tuple(EXPECTED[table]) for table in Table} == dict(COLUMNS)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.19.3", (2, 19, 3)), ("2.18.1-dev", (2, 18, 1)), ("2.20", (2, 20)), ("2.x", (2,)), ("", ())],
)
def test_versions_are_compared_as_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert version_tuple(text) == numbers


def test_the_oldest_timescaledb_that_is_taken() -> None:
    assert version_tuple("2.18.0") < TIMESCALE_MIN <= version_tuple("2.18.1") < version_tuple("2.100.0")
