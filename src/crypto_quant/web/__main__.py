"""The companion of a recorder: ``ops.companion`` runs it, nobody else.

Its plan comes as one line on stdin; the end of stdin is the end of the recorder, and its own.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress

import msgspec

from crypto_quant.ops import log
from crypto_quant.ops.companion import Plan
from crypto_quant.web.service import watch

# recording comes first
_NICENESS = 10


async def _accompany(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def heard() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            ended.set()

    loop.add_reader(sys.stdin.fileno(), heard)
    page, metrics = (None if number is None else socket.socket(fileno=number)
                     for number in (plan.page_socket, plan.metrics_socket))  # fmt: skip
    await watch(plan, page, metrics, ended, asyncio.Event())


def main() -> None:
    """Answer watchers for as long as the recorder lives."""
    # the recorder is told to end, drains, and is watched while it does
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICENESS)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    plan = msgspec.json.decode(line, type=Plan)
    log.setup(plan.log_level, plan.log_format)
    asyncio.run(_accompany(plan))


if __name__ == "__main__":
    main()
