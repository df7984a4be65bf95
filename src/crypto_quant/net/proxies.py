"""Which proxy the environment asks for, by URL: the same answer for REST, the archive and WebSockets. No I/O."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import msgspec

from crypto_quant.errors import ConfigError
from crypto_quant.words import without_passwords

# as curl reads them: lower case first, even when it is empty; the one for everything last
_VARIABLES = {
    "http": ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
    "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
}
_PLAIN = {"ws": "http", "wss": "https"}
_PORTS = {"http": 80, "https": 443}
_FORM = "Write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, or as https:// where the proxy speaks TLS"
_NO_SOCKS = (
    "SOCKS is not supported: name the HTTP port that most such programs have beside it, as {name}=http://HOST:PORT, or"
    " name the hosts that are reached without it in NO_PROXY"
)


class Proxy(msgspec.Struct, frozen=True):
    """A forward proxy: its ``url``, which always has a scheme, and the ``variable`` that asks for it."""

    variable: str
    url: str

    def __str__(self) -> str:
        return f"{without_passwords(self.url)} ({self.variable})"


class Proxies:
    """The proxies of an environment: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, and ``NO_PROXY``."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def of(self, url: str) -> Proxy | None:
        """Return the proxy through which ``url`` is reached; None: directly, as loopback always is.

        Raises ConfigError for a proxy that cannot be used.
        """
        parts = _split(url)
        host = parts.hostname if parts is not None else None
        if parts is None or host is None:
            return None  # no URL: whoever opens it says so
        scheme = _PLAIN.get(parts.scheme, parts.scheme)
        if is_loopback(host) or self._excepted(host, parts.port or _PORTS.get(scheme)):
            return None
        for low, high in zip(*[iter(_VARIABLES.get(scheme, ()))] * 2, strict=True):
            variable = low if low in self._environment else high
            text = self._environment.get(variable, "").strip()
            if text:
                return Proxy(variable, _understood(variable, text))
        return None

    def _excepted(self, host: str, port: int | None) -> bool:
        names = self._environment.get("no_proxy", self._environment.get("NO_PROXY", ""))
        return any(_covers(pattern, host, port) for pattern in names.replace(",", " ").split())


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: never to be asked of a proxy, for which it is another machine."""
    address = _address(host)
    if address is None:
        return host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback or (mapped or address).is_unspecified


def _understood(variable: str, text: str) -> str:
    """Return a proxy's URL with its scheme, HTTP where none is given. Raises ConfigError."""
    url = text if "://" in text else f"http://{text}"
    parts = _split(url)
    if parts is None or not parts.hostname:
        raise _refused(variable, text, _FORM)
    if parts.scheme.startswith("socks"):
        raise _refused(variable, text, _NO_SOCKS.format(name="HTTPS_PROXY"))
    if parts.scheme not in _PORTS or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _refused(variable, text, _FORM)
    return url.rstrip("/")


def _refused(variable: str, text: str, hint: str) -> ConfigError:
    return ConfigError(f"{variable} names no proxy that can be used", subject=without_passwords(text), hint=hint)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is no number is found when it is asked for
    except ValueError:
        return None
    return parts


def _covers(pattern: str, host: str, port: int | None) -> bool:
    """Tell whether a pattern of NO_PROXY means this host: ``*``, a name and those below it, an address, a network."""
    if pattern == "*":
        return True
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(pattern.strip("[]"), strict=False)
        except ValueError:
            pass  # a name, or an address with a port
    name, _, only = pattern.rpartition(":")
    if name and only.isdecimal() and (":" not in name or name.startswith("[")):
        return port == int(only) and _covers(name, host, port)
    wanted = pattern.removeprefix("*").strip(".").lower()
    return bool(wanted) and f".{host.rstrip('.').lower()}".endswith(f".{wanted}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
