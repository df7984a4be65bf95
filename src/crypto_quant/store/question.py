"""A question of the user's own: one statement, in a transaction that cannot write, its answer streamed as text.

The server makes the text (``COPY … TO STDOUT``), so every type looks as it does in psql and nothing is rounded. Times
are told in UTC.
"""

import csv
import io
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from crypto_quant.errors import ConfigError, CryptoQuantError
from crypto_quant.store import faults
from crypto_quant.store.audit_queries import STATEMENT_TIMEOUT_S
from crypto_quant.store.timescale import connect
from crypto_quant.store.url import redact

# a row of the answer: the text of each value, None for NULL
Row = Sequence[str | None]

# what COPY does not take; their answers are short
_NOT_COPIED = ("explain", "show")
_BLANK = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Column(msgspec.Struct, frozen=True):
    """A column of an answer; ``type`` is PostgreSQL's name of it: ``numeric``, ``timestamptz``, ``int8``."""

    name: str
    type: str


@asynccontextmanager
async def ask(url: str, query: str) -> AsyncIterator["Answer"]:
    """Lend the answer to one statement; nothing is run before its rows are asked for.

    Raises ConfigError (the URL, or a statement that cannot be run, or that writes), StoreUnavailable, StoreDenied.
    """
    connection = await connect(url, command_timeout_s=STATEMENT_TIMEOUT_S)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # prepared, it is one statement and no more, whatever stands in it
            statement = await connection.prepare(query, name="")  # nothing of it stays in a session that others share
            columns = tuple(Column(each.name, each.type.name) for each in statement.get_attributes())
            if not columns:
                raise ConfigError(
                    "the statement gives no rows, and query only reads",
                    subject=_short(query),
                    hint="For anything else there is psql: crypto-quant db psql",
                )
            yield Answer(connection, statement, query, columns)
    except faults.DRIVER_ERRORS as error:
        raise _told(error, query, redact(url)) from error
    finally:
        connection.terminate()


class Answer:
    """The rows of one statement; made by ``ask``, good for one reading."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        statement: asyncpg.prepared_stmt.PreparedStatement,
        query: str,
        columns: tuple[Column, ...],
    ) -> None:
        self.columns = columns
        self._connection = connection
        self._statement = statement
        self._query = query.strip().rstrip(";").rstrip()
        begun = _BLANK.match(query)
        self._copied = not query[begun.end() if begun else 0 :].lower().startswith(_NOT_COPIED)

    async def rows(self, take: Callable[[list[Row]], None]) -> None:
        """Give the rows to ``take``, some at a time, in their order; it is called until they have ended."""
        if not self._copied:
            take(await self._fetched())
            return
        rest = b""

        async def lines(data: bytes) -> None:
            nonlocal rest
            whole, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                take([_row(line) for line in whole.decode().split("\n")])

        await self._connection.copy_from_query(self._wrapped(), output=lines, format="text")

    async def csv(self, write: Callable[[bytes], object]) -> None:
        """Give the answer to ``write`` as CSV in UTF-8 with a line of names, in pieces; NULL is an empty field."""
        if not self._copied:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(
                [[each.name for each in self.columns], *await self._fetched()]
            )
            write(text.getvalue().encode())
            return

        async def output(data: bytes) -> None:
            write(data)

        await self._connection.copy_from_query(self._wrapped(), output=output, format="csv", header=True)

    async def _fetched(self) -> list[Row]:
        rows = await self._statement.fetch()
        return [tuple(None if value is None else str(value) for value in row) for row in rows]

    def _wrapped(self) -> str:
        # the driver puts this between brackets; a comment at its end must not swallow the closing one
        return f"{self._query}\n"


def _row(line: str) -> Row:
    values = line.split("\t")
    if "\\" not in line:
        return values
    return [None if value == "\\N" else _unescaped(value) for value in values]


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), value)


def _told(error: BaseException, query: str, subject: str) -> CryptoQuantError:
    """Return our error for what the driver raised: what is wrong with the statement is told as such."""
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return ConfigError(
            "the statement writes, and query only reads; nothing was changed",
            subject=_short(query),
            hint=f"{error}. For writing there is psql: crypto-quant db psql",
        )
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith(("42", "0A", "22")) and state != "42501":
        place = getattr(error, "position", None)
        return ConfigError(
            "the statement cannot be run",
            subject=f"{_short(query)}{_where(query, int(place)) if place else ''}",
            hint=" ".join(filter(None, (str(error), getattr(error, "hint", None)))),
        )
    return faults.translate(error, operation="asking", subject=subject)


def _where(query: str, position: int) -> str:
    """Return the line and column of a position (from 1), as far as it lies in the query."""
    before = query[: position - 1]
    return f", line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def _short(query: str) -> str:
    line = " ".join(query.split())
    return line if len(line) <= 60 else f"{line[:57]}…"
