"""An event loop in a thread of its own: so whoever reads may have a running loop, as a notebook has, or none."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
Send = Callable[[bytearray], Awaitable[None]]

# what waits between the one who receives and the one who decodes; each is a few megabytes
_BLOCKS_WAITING = 2


class Worker:
    """Runs coroutines for callers that block; its thread is begun with the first one and ended by ``close``."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns; an interrupt (Ctrl-C) cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @contextmanager
    def entered(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter an asynchronous context from a block of code that is not."""
        value = self.run(_enter(manager))
        try:
            yield value
        except BaseException as problem:
            if not self.run(_leave(manager, problem)):
                raise
        else:
            self.run(_leave(manager, None))

    def blocks(self, produce: Callable[[Send], Awaitable[None]]) -> Iterator[bytearray]:
        """Yield what ``produce`` sends, while it goes on with the next; leaving the iterator cancels it."""
        queue: asyncio.Queue[bytearray] = asyncio.Queue(_BLOCKS_WAITING)

        async def begin() -> asyncio.Future[None]:
            return asyncio.ensure_future(produce(queue.put))

        async def following(task: asyncio.Future[None]) -> bytearray | None:
            getting = asyncio.ensure_future(queue.get())
            await asyncio.wait((getting, task), return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            getting.cancel()
            task.result()
            return None

        async def end(task: asyncio.Future[None]) -> None:
            task.cancel()
            with suppress(BaseException):  # whatever it was, nobody waits for its rows any more
                await task

        task = self.run(begin())
        try:
            while (block := self.run(following(task))) is not None:
                yield block
        finally:
            self.run(end(task))

    def close(self) -> None:
        """End the thread; idempotent. What still runs is cancelled."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # a daemon: a notebook that is closed does not wait for it
                self._thread = threading.Thread(target=self._loop.run_forever, name="crypto-quant-reading", daemon=True)
                self._thread.start()
            return self._loop


async def _enter(manager: AbstractAsyncContextManager[T]) -> T:
    return await manager.__aenter__()


async def _leave(manager: AbstractAsyncContextManager[Any], problem: BaseException | None) -> bool:
    if problem is None:
        return bool(await manager.__aexit__(None, None, None))
    return bool(await manager.__aexit__(type(problem), problem, problem.__traceback__))


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
