"""Several servers of one database: a connection goes to the one that writes, wherever that is now.

asyncpg knows URLs with several hosts, but gives all of them one time limit together: a primary that vanished without
a word (the machine is off, the network is cut) uses it up, and its standby is never asked.
"""

import os
import ssl
from typing import Any

import asyncpg

from crypto_quant.store.parameters import fit
from crypto_quant.store.url import Host, hosts_of, parameters_of

# What one host's failure says nothing about the next: it is away, starts or stops, or is not the kind that is wanted.
# A refused password or a missing database would be refused there as well, and is raised.
_NEXT_HOST = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TooManyConnectionsError,
    asyncpg.exceptions.TargetServerAttributeNotMatched,
)


class Hosts:
    """The servers of a URL; the one that answered last is asked first."""

    def __init__(self, url: str) -> None:
        self._hosts = hosts_of(url)
        named = "target_session_attrs" in parameters_of(url) or "PGTARGETSESSIONATTRS" in os.environ
        # of several servers one writes, and a recorder is of no use on another
        self._wants: dict[str, Any] = {} if named else {"target_session_attrs": "read-write"}

    async def connect(self, url: str, **options: Any) -> asyncpg.Connection:  # noqa: ANN401
        """Return a connection to the first host that takes it, as ``asyncpg.connect`` does; ``timeout`` is for each.

        Raises what the driver raises; OSError, with what each of them said, when none of several hosts takes it.
        """
        fitted = fit(url, "")
        url = fitted.url
        if fitted.timeout_s is not None:
            options["timeout"] = fitted.timeout_s
        if fitted.system_certificates:
            options["ssl"] = ssl.create_default_context()
        if len(self._hosts) < 2:
            return await asyncpg.connect(url, **options)
        failures: list[tuple[Host, Exception]] = []
        for host in list(self._hosts):
            name, port = host
            place = {"host": name} if port is None else {"host": name, "port": port}
            try:
                connection = await asyncpg.connect(url, **{**options, **self._wants, **place})
            except _NEXT_HOST as problem:
                failures.append((host, problem))
            else:
                self._hosts.remove(host)
                self._hosts.insert(0, host)
                return connection
        raise OSError("; ".join(f"{_shown(host)}: {_said(problem)}" for host, problem in failures))


def _shown(host: Host) -> str:
    name, port = host
    return name if port is None else f"{name}:{port}"


def _said(problem: Exception) -> str:
    if isinstance(problem, asyncpg.exceptions.TargetServerAttributeNotMatched):
        return "not the kind of server that is wanted (a standby, or read-only)"
    if isinstance(problem, TimeoutError):
        return "no answer"
    return getattr(problem, "strerror", None) or " ".join(str(problem).split()) or type(problem).__name__
