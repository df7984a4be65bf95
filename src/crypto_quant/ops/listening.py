"""Sockets that listen: bound before anything else is begun, so that a port that is taken is known at once."""

import errno
import socket
import time
from contextlib import suppress

from crypto_quant.errors import ConfigError, CryptoQuantError, PortUnavailable

LOOPBACK = "127.0.0.1"
_BACKLOG = 128
# who does not take what was sent, or is no longer there, is given up after so long
_UNACKNOWLEDGED_MS = 30_000
# one that was killed a moment ago may have left its companion, which is about to notice
_PATIENCE_S = 1.0
_RETRY_S = 0.1


def parse_address(text: str, host: str = LOOPBACK) -> tuple[str, int]:
    """Return host and port of ``[HOST:]PORT``, IPv6 in brackets; without one the host is ``host``.

    Raises ConfigError.
    """
    given, separator, number = text.rpartition(":")
    bracketed = given.startswith("[") and given.endswith("]")
    name = given[1:-1] if bracketed else given
    if (
        not (number.isascii() and number.isdigit() and int(number) <= 65535)
        or (separator and not name)
        or (":" in name and not bracketed)
    ):
        raise ConfigError(
            "not an address to listen on",
            subject=repr(text),
            hint="Expected PORT or HOST:PORT, as in 8765, 0.0.0.0:8765 or [::1]:8765",
        )
    return name or host, int(number)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. It is not inherited by other programs.

    Raises PortUnavailable when the address cannot be had now, ConfigError when it may not be used at all.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as problem:
        raise _refused(host, port, problem) from problem
    # of a name that means both, as localhost does, the older one: everybody can reach it
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(AttributeError, OSError):  # where the system has it; connections inherit it
                bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
            bound.bind(address)
            bound.listen(_BACKLOG)
        except OSError as problem:
            bound.close()
            if problem.errno != errno.EADDRINUSE or time.monotonic() > deadline_s:
                raise _refused(host, port, problem) from problem
            time.sleep(_RETRY_S)
        else:
            return bound


def address_of(bound: socket.socket) -> str:
    """Return ``HOST:PORT`` of a socket, as a URL has it."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{host}:{port}"


def _refused(host: str, port: int, problem: OSError) -> CryptoQuantError:
    # most may be otherwise in a moment: who starts the recorder again must not take them for a wrong setting
    subject = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if problem.errno == errno.EADDRINUSE:
        hint = "Another program listens there, maybe another recorder: choose another port."
        return PortUnavailable(
            "the port is taken",
            subject=subject,
            hint=f"{hint} crypto-quant serve shows all recorders of a data directory on one",
        )
    if problem.errno == errno.EACCES:
        return ConfigError("this port may not be used", subject=subject, hint="Choose one above 1023")
    if problem.errno == errno.EADDRNOTAVAIL or isinstance(problem, socket.gaierror):
        hint = "Name one of this machine's own addresses, 127.0.0.1 or 0.0.0.0"
        return PortUnavailable("not an address of this machine", subject=subject, hint=hint)
    return PortUnavailable("cannot listen", subject=subject, hint=problem.strerror or str(problem))
