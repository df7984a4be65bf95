"""Rows of one query, read by several connections at once: cut into pieces, which leave in their order.

A server works for one connection on one core; with two snapshots of one moment it uses two.
"""

import asyncio
from collections.abc import Sequence

from crypto_quant.store.readout import Send, Snapshot

# Blocks of a piece that may wait while an earlier piece is sent: so a piece of a quarter of a million trades is read
# to its end meanwhile, and no more than that is in memory for each connection.
_BLOCKS_AHEAD = 6

_End = Exception | None


async def copy_side_by_side(
    snapshots: Sequence[Snapshot], query: str, pieces: Sequence[Sequence[object]], send: Send
) -> None:
    """Send the rows of a query for each of ``pieces`` (its values) as ``Snapshot.copy_fixed`` does, in their order.

    An empty block ends each piece. The snapshots are of one moment; each reads the next piece that none has begun.
    Raises what a piece raises, behind the rows that were had before it; the snapshots then still stand if they did
    with ``copy_fixed``. Cancelling is safe: the snapshots then end.
    """
    waiting: list[asyncio.Queue[bytearray | _End]] = [asyncio.Queue(_BLOCKS_AHEAD) for _ in pieces]
    begun = iter(zip(pieces, waiting, strict=True))
    room = asyncio.Semaphore(len(snapshots))  # pieces in memory
    over = False

    async def read(snapshot: Snapshot) -> None:
        for values, queue in begun:
            await room.acquire()
            if over:
                return
            try:
                await snapshot.copy_fixed(query, values, _into(queue))
            except Exception as problem:  # noqa: BLE001 - it is raised where the rows are taken
                await queue.put(problem)
                return
            await queue.put(None)

    def _into(queue: asyncio.Queue[bytearray | _End]) -> Send:
        async def put(block: bytearray) -> None:
            if not over:
                await queue.put(block)

        return put

    reading = [asyncio.ensure_future(read(snapshot)) for snapshot in snapshots]
    try:
        for queue in waiting:
            while isinstance(block := await queue.get(), bytearray):
                await send(block)
            if block is not None:
                raise block
            room.release()
            await send(bytearray())
    except Exception:
        # what the others are in the midst of ends by itself, so that their transactions go on
        over = True
        for queue in waiting:
            while not queue.empty():
                queue.get_nowait()
            room.release()
        await asyncio.gather(*reading)
        raise
    finally:
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
