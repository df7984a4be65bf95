"""An event loop without a world outside: time jumps to the next timer, nothing waits, and processes can die.

Everything that runs on it is a function of the seed. It leans on private names of asyncio that are the same in
Python 3.11 to 3.13 (``_run_once`` asks ``_selector.select`` how long to sleep; handles keep their ``_context``).
"""

import asyncio
import contextlib
import sys
import warnings
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

_ROUND_S = 1e-6
# So many rounds without a pause are a loop that turns on the spot.
_ROUNDS_MAX = 200_000
_CLOSINGS_MAX = 100
_THREAD_S = 0.005


class Standstill(RuntimeError):
    """Nothing is left to happen, or too much happens at one instant."""


class Process:
    """What lives and dies together: every task and callback that was begun in its ``context``.

    A crash is what a power cut is: no task of it takes another step, no ``finally`` runs.
    """

    def __init__(self, name: str, loop: "VirtualLoop") -> None:
        self.name = name
        self.alive = True
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._loop = loop
        self._steps_left: int | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task in this process."""
        return self._loop.create_task(work, context=self.context)

    def crash_after(self, steps: int) -> None:
        """Die once the loop has been asked for so many more steps of this process: in the midst of anything."""
        self._steps_left = steps

    def stepped(self) -> None:
        """One more step was asked for."""
        if self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left <= 0:
                self.crash()

    def crash(self) -> None:
        """Die now."""
        if self.alive:
            self.alive = False
            self._steps_left = None
            self._loop.bury(self)


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop; ``time()`` is virtual, in seconds, and begins at 1000."""

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)
        self._selector = self
        self._now_s = 1000.0
        self._rounds = 0
        self._dead: list[asyncio.Task[Any]] = []
        # a task of a dead process is not destroyed by mistake
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        """Return the virtual time."""
        return self._now_s

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass that asyncio would sleep."""
        if timeout is None:
            raise Standstill("nothing is left to happen")
        # what is done takes its time too: rooms that count ns and rooms that count seconds can disagree by a rounding
        self._now_s += max(timeout, _ROUND_S)
        if timeout > 0:
            self._rounds = 0
        else:
            self._rounds += 1
            if self._rounds > _ROUNDS_MAX:
                raise Standstill(f"the loop turns without a pause at {self._now_s:.6f} s")
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """Run it in the next round, unless its process is dead."""
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is not None:
            process.stepped()
            if not process.alive:
                handle = asyncio.Handle(callback, args, self, context)
                handle.cancel()
                return handle
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run it at that time, unless its process is dead."""
        timer = super().call_at(when, callback, *args, context=context)
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is not None and not process.alive:
            timer.cancel()
        return timer

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401  # as asyncio's own
        """Begin a task; it belongs to the process in whose context it runs."""
        context = options.get("context")
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        if process is not None:
            process.tasks.add(task)
            if not process.alive:
                self._dead.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: object) -> asyncio.Future[Any]:  # noqa: ANN401
        """Do a thread's work at once, and tell of it a moment later: between the two, its process may die."""
        future = self.create_future()

        def tell(outcome: Callable[..., object], value: object) -> None:
            if not future.done():
                outcome(value)

        try:
            done = func(*args)
        except Exception as problem:  # noqa: BLE001  # whoever waits for the thread gets it
            self.call_later(_THREAD_S, tell, future.set_exception, problem)
        else:
            self.call_later(_THREAD_S, tell, future.set_result, done)
        return future

    def bury(self, process: Process) -> None:
        """Take every step of a dead process off the loop; its tasks are kept until ``dispose``."""
        ready: Any = getattr(self, "_ready")  # noqa: B009  # private, and unknown to type checkers
        scheduled: Any = getattr(self, "_scheduled")  # noqa: B009
        for handle in [*ready, *scheduled]:
            if handle._context is not None and handle._context.get(_PROCESS) is process:
                handle.cancel()
        self._dead += [task for task in process.tasks if not task.done()]

    def dispose(self) -> None:
        """Close the loop and free what dead processes left, without a word about their unfinished work.

        Their ``finally`` blocks run here, when nothing they touch is looked at any more.
        """
        hook = sys.unraisablehook
        sys.unraisablehook = lambda _: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                while self._dead:
                    _close(self._dead.pop())
        finally:
            sys.unraisablehook = hook
        self.close()


def _close(task: asyncio.Task[Any]) -> None:
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    work = task.get_coro()
    for _ in range(_CLOSINGS_MAX):
        # one that awaits in its `finally` refuses to close, and is asked again
        with contextlib.suppress(BaseException):
            if work is not None:
                work.close()
            return
