"""HTTP GET by aiohttp."""

import asyncio
from collections.abc import Mapping

import aiohttp

from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.seams import HttpAnswer


class AiohttpClient:
    """An ``Http`` with one keep-alive pool; close it when done."""

    def __init__(self, timeout_s: float = 15.0) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s / 2)
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        """Return the answer, also a refusal. Raises ExchangeUnavailable when there is none."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=True)
        try:
            async with self._session.get(url, params=dict(params), headers=dict(headers)) as answer:
                body = await answer.read()
                return HttpAnswer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            # ValueError: a host name that no encoding can hold
            cause = "timed out" if isinstance(problem, TimeoutError) else str(problem) or type(problem).__name__
            raise ExchangeUnavailable(f"no answer ({cause})", subject=url) from problem

    async def close(self) -> None:
        """Close the pool; idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            # aiohttp closes TLS transports one loop turn later
            await asyncio.sleep(0)
