"""The simulated exchange: Binance spot over real sockets, all of it derived from one tape of trades.

It shares no protocol code with the recorder: an exchange that does cannot find the recorder's mistakes.
"""

from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.candles import Candle
from crypto_quant.sim.capture import CaptureTape
from crypto_quant.sim.clock import MAX, REAL
from crypto_quant.sim.limits import Limits
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.sim.tape import ListTape, SymbolInfo, Tape, Trade

__all__ = [
    "MAX",
    "REAL",
    "Aggregate",
    "Candle",
    "CaptureTape",
    "Limits",
    "ListTape",
    "SimulatedExchange",
    "SymbolInfo",
    "SyntheticTape",
    "Tape",
    "Trade",
]
