"""What stands behind the ``?`` of a database URL: taken as libpq takes it, or refused with what to leave out.

The driver knows some parameters and hands every other one to the server as a setting, which then refuses what was
never meant for it. So each parameter of libpq, and those that services put into their URLs, has a row here.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from crypto_quant.errors import ConfigError

# the driver takes them itself
DRIVER = frozenset({
    "host", "port", "dbname", "database", "user", "password", "passfile", "service", "sslmode", "sslcert", "sslkey",
    "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version",
    "target_session_attrs", "krbsrvname", "gsslib",
})  # fmt: skip
# nothing is lost by leaving them out: they tune the client library, or say what is so anyway
LEFT_OUT = frozenset({
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "load_balance_hosts", "client_encoding", "fallback_application_name", "sslcompression", "sslsni", "gssdelegation",
    "min_protocol_version", "max_protocol_version", "sslkeylogfile",
    # of services and other clients: no named prepared statement is kept, and the pool has settings of its own
    "pgbouncer", "connection_limit", "pool_timeout", "statement_cache_size", "prepared_statement_cache_size",
})  # fmt: skip
# what the driver cannot do, and what to do instead
REFUSED: Mapping[str, str] = {
    "hostaddr": "Write the address where the host stands",
    "requirepeer": "Leave it out: the owner of the server's socket is not checked",
    "replication": "Leave it out: nothing here is replicated over this connection",
    "sslcrldir": "Name one file with sslcrl instead",
    "servicefile": "Set PGSERVICEFILE instead",
    "scram_client_key": "Leave it out, and give the password",
    "scram_server_key": "Leave it out, and give the password",
    "oauth_issuer": "Leave it out: OAuth is not supported",
    "oauth_client_id": "Leave it out: OAuth is not supported",
    "oauth_client_secret": "Leave it out: OAuth is not supported",
    "oauth_scope": "Leave it out: OAuth is not supported",
    "schema": "Write search_path=… instead",
    "currentSchema": "Write search_path=… instead",
}
# only these values are refused, for what they promise cannot be kept; others are left out
PROMISES: Mapping[str, tuple[frozenset[str], str]] = {
    "gssencmode": (frozenset({"require"}), "Leave it out, and use sslmode=verify-full"),
    "sslcertmode": (frozenset({"require"}), "Leave it out: the certificate of sslcert is sent where there is one"),
}
# promises that the server is the right one, which its certificate proves as well
_PROVEN_BY_CERTIFICATE = {"channel_binding": frozenset({"require"}), "require_auth": None}
_SSL = {"true": "require", "1": "require", "on": "require", "false": "disable", "0": "disable", "off": "disable"}
_OPTION = re.compile(r"(?:-c\s*|--)search[_-]path=((?:\\.|\S)*)")


class Fitted(NamedTuple):
    """A URL as the driver takes it; ``system_certificates``: the server's certificate is proven by the system's own.

    ``timeout_s`` is connect_timeout; None: not given.
    """

    url: str
    system_certificates: bool
    timeout_s: float | None


def fit(url: str, shown: str) -> Fitted:
    """Return a URL as the driver takes it. Raises ConfigError about ``shown``, the URL without its password."""
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    values = dict(given)
    mode = _mode(values)
    kept: list[tuple[str, str]] = []
    timeout_s: float | None = None
    for name, value in given:
        if name in REFUSED:
            raise _refused(f"{name}", shown, REFUSED[name])
        if name in PROMISES and value in PROMISES[name][0]:
            raise _refused(f"{name}={value}", shown, PROMISES[name][1])
        if name in _PROVEN_BY_CERTIFICATE and mode != "verify-full":
            which = _PROVEN_BY_CERTIFICATE[name]
            if value and (which is None or value in which):
                raise _refused(
                    f"{name}={value}", shown,
                    "The driver cannot demand it. Leave it out, and let the certificate prove the server:"
                    " sslmode=verify-full&sslrootcert=system",
                )  # fmt: skip
        if name == "connect_timeout":
            timeout_s = _seconds(value, shown)
        elif name == "ssl":
            kept.append(("sslmode", mode))
        elif name == "sslmode":
            kept.append((name, mode))
        elif name == "sslrootcert" and value == "system":
            continue
        elif name not in LEFT_OUT and name not in PROMISES and name not in _PROVEN_BY_CERTIFICATE:
            kept.append((name, value))
    system = values.get("sslrootcert") == "system"
    if system and mode not in {"", "verify-full"}:
        raise _refused("sslrootcert=system", shown, "It goes with sslmode=verify-full alone, as in libpq")
    query = urlencode(list(dict.fromkeys(kept)), safe="*/,", quote_via=quote)
    return Fitted(urlunsplit(parts._replace(query=query)), system, timeout_s)


def search_path_of(url: str) -> str:
    """Return the search path that a URL asks for, in ``search_path`` or in ``options``; empty for none."""
    values = dict(parse_qsl(urlsplit(url).query))
    if "search_path" in values:
        return values["search_path"]
    found = _OPTION.search(values.get("options", ""))
    return re.sub(r"\\(.)", r"\1", found[1]) if found else ""


def schemas_of(path: str) -> list[str]:
    """Return the schemas of a search path, as the server folds them."""
    names = [name.strip() for name in re.findall(r'(?:"(?:[^"]|"")*"|[^,])+', path)]
    return [name[1:-1].replace('""', '"') if name.startswith('"') else name.lower() for name in names if name]


def _mode(values: Mapping[str, str]) -> str:
    """Return the sslmode that is meant; empty for none."""
    ssl = values.get("ssl", "").lower()
    mode = values.get("sslmode", _SSL.get(ssl, ssl))
    # as node-postgres has it: encrypted, whoever answers
    return "require" if mode == "no-verify" else mode


def _seconds(text: str, shown: str) -> float | None:
    try:
        seconds = int(text)
    except ValueError:
        raise _refused(f"connect_timeout={text}", shown, "Expected whole seconds") from None
    # as libpq has it: 0 and less is no limit, which a recorder has always
    return float(max(2, seconds)) if seconds > 0 else None


def _refused(what: str, shown: str, hint: str) -> ConfigError:
    return ConfigError(f"the database URL has {what}, which cannot be used", subject=shown, hint=hint)
