"""Versions of the database that are known to lose data or to fall under a recorder, each with its source."""

from collections.abc import Sequence

import msgspec

# Before it an upsert into a compressed chunk loses rows, see below.
TIMESCALE_MIN = (2, 18, 1)


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, ``2.19.3``, ``2.20.0-dev`` or ``17.5 (Debian 17.5-1)`` alike."""
    numbers = []
    for part in text.split(" ", maxsplit=1)[0].split("-", maxsplit=1)[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


class KnownBug(msgspec.Struct, frozen=True):
    """One fact: what happens, to which versions, and where it is written.

    ``before`` is the first version of the extension that has it no more (None: it is the server's alone). ``servers``
    are minor versions of PostgreSQL; empty: any.
    """

    what: str
    remedy: str
    source: str
    before: tuple[int, ...] | None = None
    servers: Sequence[tuple[int, int]] = ()

    def hits(self, server: tuple[int, ...], timescaledb: tuple[int, ...]) -> bool:
        """Return whether this PostgreSQL with this TimescaleDB is meant."""
        if self.before is not None and timescaledb >= self.before:
            return False
        return not self.servers or server[:2] in self.servers


# All of them concern databases with TimescaleDB; read 2026-11-21.
KNOWN_BUGS = (
    KnownBug(
        "INSERT … ON CONFLICT DO NOTHING into a compressed chunk ends at the first conflict and loses the rows behind",
        "Install TimescaleDB 2.18.1 or newer, then ALTER EXTENSION timescaledb UPDATE",
        "https://github.com/timescale/timescaledb/issues/7672",
        before=TIMESCALE_MIN,
    ),
    KnownBug(
        "this minor version changed PostgreSQL's ABI, and a TimescaleDB built for another one crashes the server",
        "Install the next minor version of PostgreSQL",
        "https://github.com/timescale/timescaledb/issues/7478",
        servers=((17, 1), (16, 5), (15, 9), (14, 14)),
    ),
)
