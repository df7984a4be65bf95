"""The operator of the simulated exchange: everything that can be made to go wrong, as calls and as commands."""

import asyncio
from collections.abc import Callable, Mapping
from typing import get_type_hints

import msgspec
from msgspec import convert

from crypto_quant.errors import ConfigError
from crypto_quant.sim import messages
from crypto_quant.sim.archive import ArchiveFlaws
from crypto_quant.sim.faults import GARBAGE, Aim, EventFaults, Refusals
from crypto_quant.sim.link import Link
from crypto_quant.sim.rest import Forgotten


class Faults:
    """Makes things go wrong.

    ``symbol`` (any case) and ``stream`` (exact name) narrow a fault to the links that listen to such a stream, or to
    the events of it; without them it hits all. Those that hit links return how many they hit. Counts are events (or
    requests), the same for every link: an event that is skipped reaches nobody, and REST still has it.
    """

    def __init__(self, links: Mapping[Link, None], events: EventFaults, event_time_us: Callable[[], int]) -> None:
        self.rest = Refusals()
        self.handshakes = Refusals()
        self.archives = ArchiveFlaws()
        self.forgotten: Forgotten = {}
        self.rest_delay_s = 0.0
        self.rest_delays_left = 0
        self._links = links
        self._events = events
        self._event_time_us = event_time_us

    def _hit(self, symbol: str | None, stream: str | None) -> list[Link]:
        if symbol is None and stream is None:
            return list(self._links)
        aim = Aim(symbol=symbol, stream=stream)
        return [link for link in self._links if any(aim.hits(one) for one in link.streams())]

    # -- links --------------------------------------------------------------------------------------------

    def drop_links(self, *, symbol: str | None = None, stream: str | None = None) -> int:
        """Drop connections without a closing handshake; what was not sent yet is lost."""
        links = self._hit(symbol, stream)
        for link in links:
            link.abort()
        return len(links)

    def silence(self, *, symbol: str | None = None, stream: str | None = None) -> int:
        """Leave connections half-open: no data, no pings, no answers, but the socket stays."""
        links = self._hit(symbol, stream)
        for link in links:
            link.silent = True
        return len(links)

    def slow_links(
        self, bytes_per_s: float, *, seconds: float | None = None, symbol: str | None = None, stream: str | None = None
    ) -> int:
        """Let links through at so many bytes per second only: the lag grows, as with a slow reader."""
        if bytes_per_s <= 0:
            raise ConfigError("a slow link needs bytes_per_s above 0", subject=repr(bytes_per_s))
        links = self._hit(symbol, stream)
        for link in links:
            link.slow_down(bytes_per_s, seconds)
        return len(links)

    def garbage(self, payload: bytes = GARBAGE, *, symbol: str | None = None, stream: str | None = None) -> int:
        """Send a text frame that is no message (by default half of one)."""
        links = self._hit(symbol, stream)
        for link in links:
            link.put_text(payload)
            link.flush()
        return len(links)

    def server_shutdown(self, *, close_after_s: float | None = None) -> int:
        """Announce ``serverShutdown`` on every link; end their lives after ``close_after_s`` (None: do not)."""
        for link in self._links:
            payload = messages.server_shutdown(self._event_time_us(), link.unit)
            link.put_text(messages.combined("!serverShutdown", payload) if link.combined else payload)
            link.flush()
            if close_after_s is not None:
                link.end_after(close_after_s)
        return len(self._links)

    def set_life(self, seconds: float, *, symbol: str | None = None, stream: str | None = None) -> int:
        """End the lives of links after so many seconds from now."""
        links = self._hit(symbol, stream)
        for link in links:
            link.end_after(seconds)
        return len(links)

    # -- events -------------------------------------------------------------------------------------------

    def skip(self, count: int = 1, *, symbol: str | None = None, stream: str | None = None) -> None:
        """Do not send the next ``count`` events."""
        self._events.arm("skip", Aim(symbol=symbol, stream=stream), count)

    def duplicate(self, count: int = 1, *, symbol: str | None = None, stream: str | None = None) -> None:
        """Send each of the next ``count`` events twice."""
        self._events.arm("duplicate", Aim(symbol=symbol, stream=stream), count)

    def reorder(self, count: int = 1, *, symbol: str | None = None, stream: str | None = None) -> None:
        """Swap the next ``count`` pairs of events of one stream: the first comes after its successor."""
        self._events.arm("reorder", Aim(symbol=symbol, stream=stream), count)

    def missing_final_candle(
        self, count: int | None = None, *, symbol: str | None = None, stream: str | None = None
    ) -> None:
        """Never send the next ``count`` final messages of candles (None: of any); ``stream`` picks the interval."""
        self._events.arm("missing_final", Aim(symbol=symbol, stream=stream), count)

    # -- requests -----------------------------------------------------------------------------------------

    def refuse_connections(
        self,
        *,
        count: int | None = None,
        seconds: float | None = None,
        status: int | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """Turn handshakes away: the next ``count``, or all for ``seconds``; ``status`` None drops them."""
        now_s = asyncio.get_running_loop().time()
        self.handshakes.arm(now_s, count=count, seconds=seconds, status=status, retry_after_s=retry_after_s)

    def rest_errors(
        self,
        status: int | None = 503,
        *,
        count: int | None = None,
        seconds: float | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """Refuse REST requests: the next ``count``, or all for ``seconds``; ``status`` None drops them."""
        if status is not None and not 400 <= status <= 599:
            raise ConfigError("not an HTTP error status", subject=repr(status))
        now_s = asyncio.get_running_loop().time()
        self.rest.arm(now_s, count=count, seconds=seconds, status=status, retry_after_s=retry_after_s)

    def rest_delay(self, seconds: float, count: int = 1) -> None:
        """Let the next ``count`` REST requests wait before they are answered."""
        self.rest_delay_s = seconds
        self.rest_delays_left = count

    def rest_forget(self, symbol: str, first: int, last: int) -> None:
        """Let REST jump over the aggregates ``first`` to ``last`` (inclusive) of a symbol; the archive has them."""
        if last < first:
            raise ConfigError("no range of ids", subject=f"{first} to {last}")
        self.forgotten.setdefault(symbol.upper(), []).append((first, last))

    def archive(self, flaw: str, *, count: int | None = None, name: str | None = None) -> None:
        """Give the archive's files a flaw (those whose name holds ``name``): the next ``count`` answers, or all.

        In an answer: ``checksum`` (a wrong CHECKSUM), ``truncated`` (half a zip), ``cut`` (the connection ends half
        way), ``missing`` (404). In what a file holds, not counted: ``unordered``, ``duplicated``, ``header``,
        ``milliseconds``, ``holes``.
        """
        self.archives.arm(flaw, count, name)

    def clear(self) -> None:
        """End every fault that has not struck yet. Links that are silent or slow stay so."""
        self._events.clear()
        self.rest.clear()
        self.handshakes.clear()
        self.archives.clear()
        self.forgotten.clear()
        self.rest_delays_left = 0

    # -- the control channel ------------------------------------------------------------------------------

    def command(self, body: bytes) -> int | None:
        """Carry out ``{"fault": NAME, ...}``, its other members being the arguments; return the links hit, if any.

        Raises ConfigError for an unknown name or a wrong argument.
        """
        try:
            request = msgspec.json.decode(body, type=dict[str, object])
        except msgspec.DecodeError as problem:
            raise ConfigError("not a JSON object", subject=str(problem)) from None
        name = request.pop("fault", None)
        if name not in COMMANDS:
            raise ConfigError("unknown fault", subject=repr(name), hint=f"One of: {', '.join(COMMANDS)}")
        call = getattr(self, str(name))
        kinds = get_type_hints(call)
        try:
            arguments = {
                key: value.encode() if key == "payload" and isinstance(value, str) else convert(value, kinds[key])
                for key, value in request.items()
            }
            hit = call(**arguments)
        except KeyError as problem:
            raise ConfigError("a fault has no such argument", subject=f"{name}: {problem}") from None
        except (TypeError, ValueError) as problem:
            raise ConfigError("wrong arguments for a fault", subject=f"{name}: {problem}") from None
        return hit if isinstance(hit, int) else None


COMMANDS = (
    "drop_links", "silence", "slow_links", "garbage", "server_shutdown", "set_life",
    "skip", "duplicate", "reorder", "missing_final_candle",
    "refuse_connections", "rest_errors", "rest_delay", "rest_forget", "archive", "clear",
)  # fmt: skip
