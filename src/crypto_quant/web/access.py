"""Who may look: on loopback whoever is on this machine, beyond it whoever has the token."""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from crypto_quant.errors import ConfigError

TOKEN_CHARACTERS_MIN = 16
PARAMETER = "token"
_COOKIE_AGE_S = 30 * 24 * 3600
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(24)


def checked_token(token: str) -> str:
    """Return the token. Raises ConfigError for one that could be guessed, or does not fit into a header."""
    if len(token) < TOKEN_CHARACTERS_MIN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            "not a token",
            hint=f"At least {TOKEN_CHARACTERS_MIN} printable ASCII characters without spaces,"
            " as from: openssl rand -hex 24",
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; ``localhost`` is taken by its name."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Access:
    """Lets through who may look; ``middlewares`` go before all others of an application.

    A ``token`` is asked of everybody: as ``Authorization: Bearer``, or once as ``?token=``, which a cookie then stands
    for. With ``loopback`` the ``Host`` of a request must name this machine: a page of somebody else's that has had
    its own name point here is not answered.
    """

    def __init__(self, token: str | None, *, loopback: bool) -> None:
        self._token = token
        self._loopback = loopback
        # the cookie is no use as a token, and two listeners of one host do not overwrite each other's
        self._ticket = hashlib.sha256(f"crypto-quant page {token}".encode()).hexdigest()
        self._cookie = f"crypto_quant_{self._ticket[-8:]}"
        self.middlewares: tuple[Middleware, ...] = (self._guard,)

    @property
    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
            if self._loopback and not _names_this_machine(request):
                return _refusal(403, "This address is for this machine alone: ask for it as localhost or 127.0.0.1.")
            if self._token is None:
                return await handler(request)
            given = request.query.get(PARAMETER)
            if given is not None and request.method in ("GET", "HEAD"):
                # out of the address bar, the history and the Referer
                return self._admit(request) if self._matches(given) else _unknown()
            scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() == "bearer" and self._matches(bearer.strip()):
                return await handler(request)
            if _equal(request.cookies.get(self._cookie, ""), self._ticket):
                return await handler(request)
            return _unknown()

        return guard

    def _matches(self, given: str) -> bool:
        return self._token is not None and _equal(given, self._token)

    def _admit(self, request: web.Request) -> web.Response:
        # never to another host: a path that begins with two slashes would be one
        path = "/" + request.rel_url.without_query_params(PARAMETER).raw_path_qs.lstrip("/\\")
        answer = web.Response(status=303, headers={"Location": path, "Cache-Control": "no-store"})
        answer.set_cookie(
            self._cookie, self._ticket, max_age=_COOKIE_AGE_S, path="/", httponly=True, samesite="Strict",
            secure=request.secure,
        )  # fmt: skip
        return answer


def _names_this_machine(request: web.Request) -> bool:
    host = request.headers.get("Host", "")
    name, separator, port = host.rpartition(":")
    if not separator or not port.isdigit():
        name = host
    return is_loopback(name)


def _equal(given: str, right: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), right.encode())


def _unknown() -> web.Response:
    refusal = _refusal(401, "A token is needed: open the address that was shown at the start, with ?token=… behind it.")
    refusal.headers["WWW-Authenticate"] = "Bearer"
    return refusal


def _refusal(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers={"Cache-Control": "no-store"})
