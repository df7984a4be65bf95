"""Database URLs: checked before use, and shown without their password."""

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from crypto_quant.errors import ConfigError

SCHEMES = ("postgresql", "postgres")
_EXAMPLE = "Expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_SECRET_PARAMETERS = ("password", "sslpassword", "passfile")


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
        parts = urlsplit(text)
        port = parts.port
        _ = parts.hostname
    except ValueError as error:
        raise ConfigError(
            "the database URL cannot be read", subject=redact(text), hint=f"{_reason(error, text)}. {_EXAMPLE}"
        ) from None
    if port == 0:
        raise ConfigError("the database URL has port 0", subject=redact(text), hint=_EXAMPLE)
    return text


def _reason(error: ValueError, url: str) -> str:
    """Return the parser's words, unless they quote a piece of the URL that may be a password."""
    text = str(error)
    return text if not any(piece and piece in url for piece in re.findall(r"'([^']*)'", text)) else "It is malformed"


def redact(url: str) -> str:
    """Return ``url`` with every password replaced by ``***``; what cannot be parsed is cut back to its scheme."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when the port is not a number: then a password may stand where a host should
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
