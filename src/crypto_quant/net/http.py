"""HTTP GET by aiohttp."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from yarl import URL

from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.net.causes import explained, refused_by_proxy, through_proxy
from crypto_quant.net.proxies import Proxies, Proxy
from crypto_quant.seams import HttpAnswer
from crypto_quant.words import without_passwords

_CHUNK = 256 * 1024


class AiohttpClient:
    """An ``Http`` with one keep-alive pool; close it when done.

    It goes through the proxy that the environment asks for. Credentials come from URLs alone, never from a netrc
    file: what that has for other programs is not the exchange's to see.
    """

    def __init__(self, timeout_s: float = 15.0, proxies: Proxies | None = None) -> None:
        self._proxies = proxies or Proxies(os.environ)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s / 2)
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        """Return the answer, also a refusal. Raises ExchangeUnavailable when there is none, ConfigError for a proxy."""
        proxy = self._proxies.of(url)
        try:
            async with self._open().get(
                url, params=dict(params), headers=dict(headers), proxy=proxy.url if proxy is not None else None
            ) as answer:
                body = await answer.read()
                return HttpAnswer(answer.status, _headers(answer), body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            # ValueError: a host name that no encoding can hold
            raise _no_answer(url, problem, proxy) from problem

    async def download(self, url: str, into: Path) -> HttpAnswer:
        """Stream a body to the end of the file ``into``, going on from what it holds; return the answer, bodiless.

        Status 200 or 206: the file is complete as far as the server can tell. Any other answer leaves it untouched.
        Cancelling, and ExchangeUnavailable (the answer was cut), keep what came, so that the next call goes on there.
        Raises OSError when the disk refuses, ConfigError for a proxy that cannot be used.
        """
        proxy = self._proxies.of(url)
        have = into.stat().st_size if into.exists() else 0  # noqa: ASYNC240  # one look at a local file
        # `identity`: a proxy must not compress what is counted in bytes
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        # a large file may take long; silence may not
        timeout = aiohttp.ClientTimeout(total=None, connect=self._timeout.connect, sock_read=self._timeout.total)
        try:
            async with self._open().get(
                encoded(url), headers=headers, timeout=timeout, proxy=proxy.url if proxy is not None else None
            ) as answer:
                if answer.status in (200, 206):
                    with _Disk(into, append=answer.status == 206) as file:
                        async for chunk in answer.content.iter_chunked(_CHUNK):
                            file.write(chunk)
                return HttpAnswer(answer.status, _headers(answer), b"")
        except _DiskRefused as problem:
            raise problem.cause from problem
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            raise _no_answer(url, problem, proxy) from problem

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # `trust_env` would take credentials from netrc, and ask loopback through a proxy
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
        return self._session

    async def close(self) -> None:
        """Close the pool; idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            # aiohttp closes TLS transports one loop turn later
            await asyncio.sleep(0)


class _DiskRefused(Exception):
    """Tells the disk's OSError from the network's, which is one too."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Disk:
    """A file that is written from the event loop: a chunk takes the disk's cache microseconds."""

    def __init__(self, path: Path, *, append: bool) -> None:
        try:
            self._file = path.open("ab" if append else "wb")
        except OSError as problem:
            raise _DiskRefused(problem) from problem

    def write(self, chunk: bytes) -> None:
        try:
            self._file.write(chunk)
        except OSError as problem:
            raise _DiskRefused(problem) from problem

    def __enter__(self) -> "_Disk":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._file.close()
        except OSError as problem:
            if kind is None:
                raise _DiskRefused(problem) from problem


def encoded(url: str) -> URL:
    """Return a URL whose path is percent-encoded already, so that it is not encoded twice."""
    return URL(url, encoded=True)


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _no_answer(url: str, problem: Exception, proxy: Proxy | None) -> ExchangeUnavailable:
    if isinstance(problem, aiohttp.ClientHttpProxyError):
        cause, hint = refused_by_proxy(problem.status)
    else:
        cause, hint = explained(problem)
    hint = through_proxy(hint, proxy)
    return ExchangeUnavailable(without_passwords(f"no answer ({cause})"), subject=without_passwords(url), hint=hint)
