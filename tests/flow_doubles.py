"""Doubles of the seams for the tests of ``flow``: each is the smallest thing that keeps its protocol."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from crypto_quant import events
from crypto_quant.binance import wire
from crypto_quant.errors import LinkLost, StoreRejected
from crypto_quant.seams import Batch, Covered, HttpAnswer, Link, LinkHandler, PoolUse, Receipt, Table

NOW_NS = 1_790_856_000_000_000_000


class Journal:
    """An ``Emit`` that remembers."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: object) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def steps(self) -> list[str]:
        return [event.step for event in self.of(events.DrainStep)]


class SetClock:
    """A ``Clock`` that is set by hand; it moves by ``step_ns`` at each look."""

    def __init__(self, now_ns: int = NOW_NS, step_ns: int = 0) -> None:
        self.ns = now_ns
        self.step_ns = step_ns

    def now_ns(self) -> int:
        self.ns += self.step_ns
        return self.ns


class MemoryQuarantine:
    """A ``Quarantine`` in a list."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, bytes, str]] = []

    def keep(self, kind: str, raw: bytes, reason: str) -> None:
        self.kept.append((kind, raw, reason))


class MemorySink:
    """A ``Sink`` in memory: whole batches or nothing, keyed by the row's first four columns.

    ``failures`` are raised by the next writes, one each; rows for which ``refuses`` is true reject their batch, those
    for which ``conflicts`` is true are told to be stored with another content; while ``gate`` is clear a write waits
    before it commits. ``covered`` holds the ids that committed batches proved, in their order.
    """

    def __init__(
        self,
        failures: Iterable[BaseException] = (),
        refuses: Callable[[bytes], bool] = lambda _: False,
        conflicts: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self.failures: deque[BaseException] = deque(failures)
        self.refuses = refuses
        self.conflicts = conflicts
        self.covered: list[Covered] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.rows: dict[Table, list[bytes]] = {table: [] for table in Table}
        self.keys: set[tuple[Table, tuple[bytes, ...]]] = set()
        self.batches: list[Batch] = []
        self.closed = 0
        self.writing = 0
        self.on_close: Callable[[], Awaitable[None]] | None = None

    async def write(self, batch: Batch) -> Receipt:
        self.writing += 1
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
            if self.failures:
                raise self.failures.popleft()
            if any(self.refuses(row) for row in batch.rows):
                raise StoreRejected("a row is refused", subject=batch.table.value)
            written = 0
            repeated = []
            conflicting = tuple(place for place, row in enumerate(batch.rows) if self.conflicts(row))
            for place, row in enumerate(batch.rows):
                if place in conflicting:
                    continue
                key = (batch.table, tuple(row.split(b"\t")[:4]))
                if key in self.keys:
                    repeated.append(place)
                    continue
                self.keys.add(key)
                self.rows[batch.table].append(row)
                written += 1
            self.batches.append(Batch(batch.table, list(batch.rows), batch.covered))
            self.covered += batch.covered
            told = tuple(repeated) if batch.table is Table.CANDLES else ()
            return Receipt(written, len(repeated), conflicting, told)
        finally:
            self.writing -= 1

    def pool_use(self) -> PoolUse:
        return PoolUse(4, 1, self.writing)

    async def close(self) -> None:
        self.closed += 1
        if self.on_close is not None:
            await self.on_close()


class FakeLink:
    """A ``Link`` that notes what it is told; ``say``, ``ping`` and ``end`` are the exchange's side."""

    def __init__(self, url: str, handler: LinkHandler) -> None:
        self.url = url
        self.handler = handler
        self.sent: list[bytes] = []
        self.pongs: list[bytes] = []
        self.reading = True
        self.ended = False
        self.closed_with: int | None = None
        self.aborted = False
        self.answers_close = True

    def send(self, text: bytes) -> None:
        self.sent.append(text)

    def pong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def close(self, code: int = 1000) -> None:
        self.closed_with = code
        if self.answers_close:
            asyncio.get_running_loop().call_soon(self.end, code, "")

    def abort(self) -> None:
        self.aborted = True
        self.end(1006, "")

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def say(self, payload: bytes) -> None:
        self.handler.on_texts([payload])

    def ping(self, payload: bytes) -> None:
        self.handler.on_ping(payload)

    def end(self, code: int = 1006, reason: str = "") -> None:
        if not self.ended:
            self.ended = True
            self.handler.on_closed(code, reason)


class FakeConnector:
    """A ``Connector`` of fake links; ``script`` holds what the next attempts do: raise, or greet the new link."""

    def __init__(self, script: Sequence[BaseException | Callable[[FakeLink], None] | None] = ()) -> None:
        self.script = deque(script)
        self.links: list[FakeLink] = []
        self.attempts = 0
        self.times: list[float] = []
        self.opened = asyncio.Event()

    async def connect(self, url: str, handler: LinkHandler) -> Link:
        self.attempts += 1
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        step = self.script.popleft() if self.script else None
        if isinstance(step, BaseException):
            raise step
        link = FakeLink(url, handler)
        if step is not None:
            step(link)
        self.links.append(link)
        self.opened.set()
        return link


class NoConnector:
    """A ``Connector`` to nowhere."""

    async def connect(self, url: str, handler: LinkHandler) -> Link:
        raise LinkLost("cannot connect", subject=url)


class ScriptedHttp:
    """An ``Http`` that answers from a script: answers, errors, or a function of (url, params)."""

    def __init__(self, *answers: HttpAnswer | BaseException | Callable[[str, Mapping[str, str]], HttpAnswer]) -> None:
        self.answers = deque(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        self.asked.append((url, dict(params)))
        await asyncio.sleep(0)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.popleft()
        if isinstance(answer, BaseException):
            raise answer
        return answer(url, params) if callable(answer) else answer


class ListTaker:
    """A frame taker that keeps every payload; ``act`` may return a message for the link or raise."""

    def __init__(self, act: Callable[[bytes], wire.Message | None] = lambda _: None) -> None:
        self.payloads: list[bytes] = []
        self.act = act

    def frames(self, payloads: Sequence[bytes], received_ns: int, link: int = 0) -> list[wire.Message]:
        messages = []
        for payload in payloads:
            self.payloads.append(payload)
            message = self.act(payload)
            if message is not None:
                messages.append(message)
        return messages


async def until(condition: Callable[[], object], within_s: float = 3.0) -> None:
    """Wait until the condition holds; fail when it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # a test may look at anything
            await asyncio.sleep(0.001)


def agg_frame(
    trade_id: int,
    *,
    symbol: str = "BTCUSDT",
    price: str = "64250.10000000",
    quantity: str = "0.01000000",
    time: int = 1_790_856_001_200,
    event: int | None = None,
    first: int | None = None,
    last: int | None = None,
    maker: bool = True,
) -> bytes:
    """Return the combined frame of one aggregate trade."""
    first = trade_id * 10 if first is None else first
    last = first if last is None else last
    event = time + 1 if event is None else event
    side = "true" if maker else "false"
    return (
        f'{{"stream":"{symbol.lower()}@aggTrade","data":{{"e":"aggTrade","E":{event},"s":"{symbol}","a":{trade_id},'
        f'"p":"{price}","q":"{quantity}","f":{first},"l":{last},"T":{time},"m":{side},"M":true}}}}'
    ).encode()


def kline_frame(
    open_ms: int = 1_790_856_000_000,
    *,
    closed: bool = True,
    symbol: str = "BTCUSDT",
    interval: str = "1m",
    event: int | None = None,
    length_ms: int = 60_000,
    close: str = "64250.50000000",
) -> bytes:
    """Return the combined frame of one candle."""
    event = open_ms + length_ms + 4 if event is None else event
    return (
        f'{{"stream":"{symbol.lower()}@kline_{interval}","data":{{"e":"kline","E":{event},"s":"{symbol}","k":{{'
        f'"t":{open_ms},"T":{open_ms + length_ms - 1},"s":"{symbol}","i":"{interval}","f":5000000001,"L":5000000005,'
        f'"o":"64250.10000000","c":"{close}","h":"64250.50000000","l":"64250.00000000","v":"0.01500000","n":5,'
        f'"x":{"true" if closed else "false"},"q":"963.75225000","V":"0.00250000","Q":"160.62625000","B":"0"}}}}}}'
    ).encode()
