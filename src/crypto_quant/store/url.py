"""Database URLs: checked before use, and shown without their password."""

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from crypto_quant.errors import ConfigError
from crypto_quant.store.parameters import fit

SCHEMES = ("postgresql", "postgres")
# how the URL of every embedded database begins; the directory of its socket follows
EMBEDDED_URL = "postgresql://crypto_quant@/crypto_quant?host="
_EXAMPLE = "Expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_SECRET_PARAMETERS = ("password", "sslpassword", "passfile", "token", "secret", "key", "apikey", "api_key",
                      "oauth_client_secret", "scram_client_key", "scram_server_key")  # fmt: skip

# One server of a URL; a port of None is the driver's default.
Host = tuple[str, int | None]


def checked_url(url: str) -> str:
    """Return ``url`` as it is if it names a PostgreSQL database. Raises ConfigError; no message holds a password."""
    text = url.strip()
    if not text:
        raise ConfigError("the database URL is empty", hint=_EXAMPLE)
    scheme = text.split("://", 1)[0] if "://" in text else ""
    if scheme not in SCHEMES:
        driver = "+" in scheme and scheme.split("+", 1)[0] in SCHEMES
        hint = "Leave out the driver's name: postgresql://…" if driver else _EXAMPLE
        raise ConfigError("not a PostgreSQL database URL", subject=redact(text), hint=hint)
    if "#" in text:
        raise ConfigError(
            "the database URL has a '#' in it",
            subject=redact(text),
            hint="A '#' in a password is written %23, a '/' %2F, an '@' %40",
        )
    try:
        hosts = hosts_of(text)
    except ValueError as error:
        raise ConfigError(
            "the database URL cannot be read", subject=redact(text), hint=f"{_reason(error, text)}. {_EXAMPLE}"
        ) from None
    if any(port == 0 for _, port in hosts):
        raise ConfigError("the database URL has port 0", subject=redact(text), hint=_EXAMPLE)
    fit(text, redact(text))  # raises for a parameter that cannot be used
    return text


def hosts_of(url: str) -> list[Host]:
    """Return the servers that a URL names, in its order; none when it leaves that to the environment.

    ``postgresql://…@h1:5432,h2:5433/db`` and ``postgresql:///db?host=h1,h2&port=5432,5433`` name two. Raises ValueError
    for what cannot be read.
    """
    parts = urlsplit(url)
    if "@" in parts.path:
        raise ValueError("There is an @ behind the host. A / in a password is written %2F")
    places = parts.netloc.rpartition("@")[2]
    if places:
        found = [(_name(place), urlsplit(f"//{place}").port) for place in places.split(",")]
        if len(found) > 1 and not all(name for name, _ in found):
            raise ValueError("a host without a name")
        return [(name, port) for name, port in found if name]
    given = parameters_of(url)
    names = [name for name in given.get("host", "").split(",") if name]
    ports = [int(port) for port in given.get("port", "").split(",") if port]
    if len(ports) > 1 and len(ports) != len(names):
        raise ValueError(f"{len(names)} hosts and {len(ports)} ports")
    return [(name, ports[min(at, len(ports) - 1)] if ports else None) for at, name in enumerate(names)]


def _name(place: str) -> str:
    """Return the host of ``host:port`` as the driver takes it; ``%2Frun%2Fpg`` is a directory."""
    return unquote(place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0])


def parameters_of(url: str) -> dict[str, str]:
    """Return what stands behind the ``?``; of a name that is given twice the last."""
    return dict(parse_qsl(urlsplit(url).query))


def _reason(error: ValueError, url: str) -> str:
    """Return the parser's words, unless they quote a piece of the URL that may be a password."""
    text = str(error)
    return text if not any(piece and piece in url for piece in re.findall(r"'([^']*)'", text)) else "It is malformed"


def redact(url: str) -> str:
    """Return ``url`` with every password replaced by ``***``; what cannot be parsed is cut back to its scheme."""
    try:
        parts = urlsplit(url)
        hosts_of(url)  # raises when a port is not a number: then a password may stand where a host should
        if not parts.scheme or "://" not in url or parts.fragment:
            raise ValueError
    except ValueError:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url)
        return f"{scheme.group() if scheme else ''}***"
    netloc = parts.netloc
    if "@" in netloc:
        user, _, host = netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        netloc = f"{name}:***@{host}" if colon else f"{name}@{host}"
    query = parts.query
    if query:
        pairs = parse_qsl(query, keep_blank_values=True)
        hidden = [(key, "***" if key.lower() in _SECRET_PARAMETERS else value) for key, value in pairs]
        query = urlencode(hidden, safe="*/", quote_via=quote)
    return f"{parts.scheme}://{netloc}{parts.path}{'?' if query else ''}{query}"
