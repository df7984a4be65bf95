"""What PostgreSQL and asyncpg raise, translated into our errors by SQLSTATE.

The rule: what may pass is ``StoreUnavailable`` (the rows are kept and tried again), what lies in a row is
``StoreRejected``, what a person must grant is ``StoreDenied``. Whatever is not known is taken to pass, because
that never costs a row. Codes: PostgreSQL manual, appendix A (read for version 18).
"""

from pathlib import Path
from urllib.parse import unquote

import asyncpg

from crypto_quant import commands
from crypto_quant.errors import ConfigError, CryptoQuantError, StoreDenied, StoreRejected, StoreUnavailable
from crypto_quant.store.paths import usual_directory
from crypto_quant.store.url import EMBEDDED_URL

# All that a call into the driver may raise. InternalClientError: asyncpg met a connection in a state that it did not
# expect, as when the server ends a session in the very moment of its use.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

# SQLSTATE, or its first two letters -> what a person does about it
_RETRY_HINTS = {
    "08": "The connection broke; it is opened again",
    "25006": "The database is read-only (a standby, or default_transaction_read_only); point at the primary",
    "40": "Two transactions collided; the batch is tried again",
    "42P01": "A table is missing: restore it under its name; it is never made again by itself, and no row is lost",
    "42703": "A column is missing: undo that change of the table; no row is lost meanwhile",
    "53100": "The server's disk is full: free some space, nothing is lost meanwhile",
    "53200": "The server is out of memory",
    "53300": "The server has no connection left: raise max_connections or close other clients",
    "55P03": "Another session holds a lock",
    "57014": "The statement was cancelled, or took longer than statement_timeout",
    "57P": "The server is starting, stopping or recovering",
}
_REJECT = ("22", "23", "44", "54", "P0001")
_DENY_HINTS = {
    "28": "Check user and password of the database URL, and pg_hba.conf of the server",
    "3D000": "Create the database (`createdb NAME`) or correct the name at the end of the database URL",
    "3F000": "No schema to work in: GRANT USAGE, CREATE ON SCHEMA public TO this user, or set its search_path",
    "42501": "",
}


def translate(error: BaseException, *, operation: str, subject: str, connecting: bool = False) -> CryptoQuantError:
    """Return our error for a driver's; raise it ``from error``.

    ``subject`` names the database or the table, never with a password. ``connecting`` is true until a connection
    is open: then a setting that the server does not know is the fault of the URL.
    """
    if isinstance(error, CryptoQuantError):
        return error
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"{operation} took too long", subject=subject, hint="The database does not answer")
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, operation, subject, connecting=connecting)
    if isinstance(error, OSError):
        return StoreUnavailable(f"{operation} failed", subject=subject, hint=f"{_text(error)}. {_reach(subject)}")
    if isinstance(error, (asyncpg.exceptions.ClientConfigurationError, ValueError)) and connecting:
        return ConfigError("the database URL cannot be used", subject=subject, hint=_text(error))
    # asyncpg's own complaints (a connection that closed under a call, a pool that is closing)
    return StoreUnavailable(f"{operation} failed", subject=subject, hint=_text(error))


# the server calls it shared memory, and means the room for locks: one for each day of the record and each index of it
_LOCKS_HINT = (
    "The question touches more days than the server has locks for. Name a time (WHERE time >= …, --from and --to); or"
    " ALTER SYSTEM SET max_locks_per_transaction = 1024, and restart the server (`crypto-quant db stop` for the"
    " embedded one, which has as many)"
)


def nothing_recorded(subject: str) -> ConfigError:
    """Return the error of a database that has none of our tables; ``subject`` is its URL without the password."""
    return ConfigError(
        "nothing is recorded in this database: it has no table trades",
        subject=subject,
        hint="Is it the right one? Record into it with: crypto-quant record SYMBOL --database-url URL",
    )


def _of_server(error: asyncpg.PostgresError, operation: str, subject: str, *, connecting: bool) -> CryptoQuantError:
    state = error.sqlstate or ""
    said = _text(error)
    for prefix, hint in _DENY_HINTS.items():
        if state.startswith(prefix):
            return StoreDenied(f"{operation} was denied: {said}", subject=subject, hint=hint or _grant_hint(said))
    if connecting and state in ("42704", "22023", "55P02", "08P01"):
        return ConfigError(
            f"the server refuses a setting of the database URL: {said}",
            subject=subject,
            hint="Check what follows the '?' of the URL",
        )
    if state.startswith(_REJECT) and not connecting:
        where = getattr(error, "context", None)
        return StoreRejected(said, subject=f"{subject}: {where}" if where else subject)
    if "max_locks_per_transaction" in f"{said} {getattr(error, 'hint', '')}":
        return StoreUnavailable(f"{operation} failed: {said}", subject=subject, hint=_LOCKS_HINT)
    hints = [hint for prefix, hint in _RETRY_HINTS.items() if state.startswith(prefix)]
    return StoreUnavailable(f"{operation} failed: {said}", subject=subject, hint=hints[0] if hints else "")


def _reach(subject: str) -> str:
    """Return what a person does about a server that does not answer; the embedded one has a command."""
    if not subject.startswith(EMBEDDED_URL):
        return "Is the database running, and reachable?"
    run = Path(unquote(subject.removeprefix(EMBEDDED_URL).partition("&")[0]))
    # a socket whose own directory would be too deep lies elsewhere: then the environment has to tell
    other = run.name == "run" and run.parent != usual_directory().expanduser().resolve()
    return f"Start the embedded database: {commands.start_database(str(run.parent) if other else '')}"


def _text(error: BaseException) -> str:
    """Return an error's message as one line; its class when it has none."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _grant_hint(said: str) -> str:
    """Return the GRANT that a refused right asks for, as far as the server's (English) words tell."""
    # the words are only used to help: in another language the general advice is given
    grants = (
        ("for schema", "GRANT USAGE, CREATE ON SCHEMA public TO the user of the URL"),
        ("temporary tables", "GRANT TEMPORARY ON DATABASE the_database TO the user of the URL"),
        ("for database", "GRANT CREATE, TEMPORARY ON DATABASE the_database TO the user of the URL"),
        ("for table coverage", "GRANT SELECT, INSERT, UPDATE, DELETE ON coverage, absences TO the user of the URL"),
        ("dropped", "GRANT SELECT ON dropped, candle_dropped, policies TO the user of the URL"),
        ("for table policies", "GRANT SELECT ON dropped, candle_dropped, policies TO the user of the URL"),
        ("for table symbols", "GRANT SELECT, INSERT, UPDATE ON symbols TO the user of the URL"),
        ("for table", "GRANT SELECT, INSERT ON trades, candles, crypto_quant_schema TO the user of the URL"),
    )
    for words, grant in grants:
        if words in said:
            return grant
    return "GRANT the missing right to the user of the URL, or connect as the owner of the tables"
