"""Many worlds, on every processor."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from crypto_quant.sim.world.world import Outcome, run

_AT_ONCE = 4


def run_many(seeds: Iterable[int], *, hours: float | None = None, jobs: int | None = None) -> Iterator[Outcome]:
    """Yield the outcome of each seed, in the order given; ``jobs`` None means one process a processor."""
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1:
        for seed in seeds:
            yield run(seed, hours=hours)
        return
    # begun anew rather than forked: a fork inherits locks and threads of whoever calls this
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(partial(run, hours=hours), seeds, chunksize=_AT_ONCE)
