"""Everything that can go wrong, in one tree.

An error answers one question, its ``disposition``: does the caller try again, keep the thing aside and go on,
or stop? Libraries' exceptions are translated into these where the library lives, with ``from``.
Holes and outages are data (``continuity.Gap``, ``events``), never exceptions.
"""

from enum import StrEnum
from typing import ClassVar


class Disposition(StrEnum):
    """What the one who catches an error is to do."""

    RETRY = "retry"
    SET_ASIDE = "set aside"
    STOP = "stop"


class CryptoQuantError(Exception):
    """What happened, to what, and what to do about it.

    ``str()`` of it is fit to be shown to a person: ``what (subject). hint``.
    """

    disposition: ClassVar[Disposition] = Disposition.STOP
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, subject: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.subject = subject
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.what}: {self.subject}" if self.subject else self.what
        return f"{text}. {self.hint}" if self.hint else text


# -- retry: the world may be better in a moment -----------------------------------------------------------


class RetryableError(CryptoQuantError):
    """Worth another try after a pause."""

    disposition = Disposition.RETRY


class LinkLost(RetryableError):
    """A WebSocket could not be opened, or ended. ``status`` is what HTTP answered to the handshake, where it did."""

    def __init__(self, what: str, *, subject: str = "", hint: str = "", status: int | None = None) -> None:
        super().__init__(what, subject=subject, hint=hint)
        self.status = status


class ExchangeUnavailable(RetryableError):
    """REST did not answer, or answered with 5xx or nonsense."""


class Throttled(RetryableError):
    """The exchange asks for a pause (HTTP 429, or 418 once it has banned the address)."""

    def __init__(self, what: str, *, retry_after_s: float, subject: str = "", hint: str = "") -> None:
        super().__init__(what, subject=subject, hint=hint)
        self.retry_after_s = retry_after_s


class StoreUnavailable(RetryableError):
    """The database is away, restarting, read-only, out of connections or out of disk; the batch is unharmed."""


class SpoolUnavailable(RetryableError):
    """The spool takes nothing now: it is full, or its disk refuses; the rows stay in memory."""


class PortUnavailable(RetryableError):
    """An address to listen on cannot be had now: another listens there, or it is not up yet; nothing was started."""


# -- set aside: keep it raw, count it, go on --------------------------------------------------------------


class SetAsideError(CryptoQuantError):
    """This one thing cannot be used; its neighbours can."""

    disposition = Disposition.SET_ASIDE


class UndecodableFrame(SetAsideError):
    """A frame that is not what the exchange documents."""


class ArchiveDamaged(SetAsideError):
    """A file of the archive cannot be used, however often it is fetched."""


class StoreRejected(SetAsideError):
    """The database refuses at least one row of a batch; nothing of that batch was stored."""


class RequestRefused(SetAsideError):
    """The exchange refuses one REST request for good (HTTP 4xx with an error code)."""

    def __init__(self, what: str, *, status: int, code: int, subject: str = "", hint: str = "") -> None:
        super().__init__(what, subject=subject, hint=hint)
        self.status = status
        self.code = code


# -- stop: a person has to act ----------------------------------------------------------------------------


class ConfigError(CryptoQuantError):
    """A setting, symbol, stream or file is wrong; nothing was started."""

    exit_code = 2


class StoreDenied(CryptoQuantError):
    """The database refuses this user: wrong password, missing database, missing right."""


class SchemaMismatch(CryptoQuantError):
    """The database holds a schema that this version must not touch."""


class EmbeddedDatabaseError(CryptoQuantError):
    """The embedded PostgreSQL could not be installed, started or stopped."""


class Incomplete(CryptoQuantError):
    """What was asked for is not whole, and nobody said that it may be so."""

    exit_code = 3


class MissingExtra(CryptoQuantError):
    """A library is needed that this installation was made without."""

    exit_code = 2
