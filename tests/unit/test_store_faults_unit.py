"""SQLSTATE to our errors."""

from pathlib import Path

import asyncpg
import pytest
from asyncpg import exceptions as pg

from crypto_quant.errors import ConfigError, CryptoQuantError, StoreDenied, StoreRejected, StoreUnavailable
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.store.faults import translate
from crypto_quant.store.url import redact


def test_the_embedded_database_is_named_by_the_command_that_starts_it(tmp_path: Path) -> None:
    url = EmbeddedDatabase(tmp_path).url()
    told = translate(FileNotFoundError(2, "No such file"), operation="connecting", subject=redact(url), connecting=True)
    assert told.hint.endswith(f": {EmbeddedDatabase(tmp_path).start_command()}")
    assert f"{tmp_path} crypto-quant db start" in told.hint
    told = translate(ConnectionRefusedError(), operation="connecting", subject="postgresql://db/x", connecting=True)
    assert "db start" not in told.hint


CASES: list[tuple[type[Exception], type[CryptoQuantError]]] = [
    (pg.ConnectionDoesNotExistError, StoreUnavailable),
    (pg.CannotConnectNowError, StoreUnavailable),
    (pg.AdminShutdownError, StoreUnavailable),
    (pg.CrashShutdownError, StoreUnavailable),
    (pg.SerializationError, StoreUnavailable),
    (pg.DeadlockDetectedError, StoreUnavailable),
    (pg.LockNotAvailableError, StoreUnavailable),
    (pg.QueryCanceledError, StoreUnavailable),
    (pg.TooManyConnectionsError, StoreUnavailable),
    (pg.DiskFullError, StoreUnavailable),
    (pg.OutOfMemoryError, StoreUnavailable),
    (pg.ReadOnlySQLTransactionError, StoreUnavailable),
    (pg.UndefinedTableError, StoreUnavailable),
    (pg.UndefinedColumnError, StoreUnavailable),
    (pg.PostgresIOError, StoreUnavailable),
    (pg.InternalServerError, StoreUnavailable),
    (pg.InterfaceError, StoreUnavailable),
    (pg.InternalClientError, StoreUnavailable),
    (ConnectionRefusedError, StoreUnavailable),
    (TimeoutError, StoreUnavailable),
    (pg.NumericValueOutOfRangeError, StoreRejected),
    (pg.InvalidTextRepresentationError, StoreRejected),
    (pg.BadCopyFileFormatError, StoreRejected),
    (pg.CharacterNotInRepertoireError, StoreRejected),
    (pg.UntranslatableCharacterError, StoreRejected),
    (pg.DatetimeFieldOverflowError, StoreRejected),
    (pg.CheckViolationError, StoreRejected),
    (pg.NotNullViolationError, StoreRejected),
    (pg.ProgramLimitExceededError, StoreRejected),
    (pg.RaiseError, StoreRejected),
    (pg.InvalidPasswordError, StoreDenied),
    (pg.InvalidAuthorizationSpecificationError, StoreDenied),
    (pg.InvalidCatalogNameError, StoreDenied),
    (pg.InsufficientPrivilegeError, StoreDenied),
]


@pytest.mark.parametrize(("kind", "ours"), CASES, ids=[kind.__name__ for kind, _ in CASES])
def test_each_fault_has_its_class(kind: type[Exception], ours: type[CryptoQuantError]) -> None:
    error = translate(kind("it said so"), operation="writing", subject="trades")
    assert type(error) is ours
    assert "trades" in str(error)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (pg.DiskFullError, "free some space"),
        (pg.TooManyConnectionsError, "max_connections"),
        (pg.ReadOnlySQLTransactionError, "primary"),
        (pg.UndefinedTableError, "restore it under its name"),
        (pg.InvalidCatalogNameError, "createdb"),
        (pg.InvalidPasswordError, "password"),
    ],
)
def test_it_says_what_to_do(kind: type[Exception], hint: str) -> None:
    assert hint in translate(kind("words"), operation="writing", subject="trades").hint


@pytest.mark.parametrize(
    ("said", "grant"),
    [
        ("permission denied for schema public", "GRANT USAGE, CREATE ON SCHEMA"),
        ('permission denied to create temporary tables in database "x"', "GRANT TEMPORARY ON DATABASE"),
        ('permission denied for database "x"', "GRANT CREATE, TEMPORARY ON DATABASE"),
        ("permission denied for table trades", "GRANT SELECT, INSERT ON trades"),
        ("keine Berechtigung für Tabelle trades", "GRANT the missing right"),
    ],
)
def test_a_missing_right_names_the_grant(said: str, grant: str) -> None:
    error = translate(pg.InsufficientPrivilegeError(said), operation="writing", subject="trades")
    assert grant in error.hint


def test_a_setting_of_the_url_is_to_blame_while_connecting() -> None:
    error = asyncpg.UndefinedObjectError('unrecognized configuration parameter "x"')
    assert type(translate(error, operation="connecting", subject="url", connecting=True)) is ConfigError
    assert type(translate(error, operation="writing", subject="trades")) is StoreUnavailable


def test_our_own_errors_pass_as_they_are() -> None:
    ours = StoreRejected("a row")
    assert translate(ours, operation="writing", subject="trades") is ours


def test_a_message_of_many_lines_becomes_one() -> None:
    assert "\n" not in str(translate(pg.DataError("a\n  b"), operation="writing", subject="trades"))
