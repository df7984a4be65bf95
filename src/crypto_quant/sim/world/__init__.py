"""The deterministic world: the real recorder in a simulated one, where a seed decides everything.

Exchange, network, database, clock and the recorder's own life and death run in one event loop of virtual time. This
is the one room of ``sim`` that knows the recorder: it drives the rooms of ``flow`` through their seams, and checks
them against the tape with the exchange's own code.
"""

from crypto_quant.sim.world.many import run_many
from crypto_quant.sim.world.plan import Plan, draw
from crypto_quant.sim.world.world import Outcome, World, run

__all__ = ["Outcome", "Plan", "World", "draw", "run", "run_many"]
