"""What freqtrade finds in a directory of data, as JSON; run by freqtrade's own Python."""

import json
import sys
from pathlib import Path

from freqtrade.data.converter.trade_converter import trades_to_ohlcv
from freqtrade.data.history.datahandlers import get_datahandler
from freqtrade.enums import CandleType, TradingMode

directory, pair = Path(sys.argv[1]), sys.argv[2]
futures = ":" in pair
handler = get_datahandler(directory, "feather")
mode = TradingMode.FUTURES if futures else TradingMode.SPOT
kind = CandleType.FUTURES if futures else CandleType.SPOT
candles = handler.ohlcv_load(pair, "5m", kind, fill_missing=False, drop_incomplete=False)
trades = handler.trades_load(pair, mode)
built = trades_to_ohlcv(trades, "1d") if len(trades) else None
print(
    json.dumps({
        "pairs": sorted([pair, frame] for pair, frame, _ in handler.ohlcv_get_available_data(directory, mode)),
        "candles": [
            [str(row.date), row.open, row.high, row.low, row.close, row.volume] for row in candles.itertuples()
        ],
        "trades": [
            [row.timestamp, row.id, row.side, row.price, row.amount, row.cost] for row in trades.itertuples()
        ],
        "volume_by_day": [] if built is None else built["volume"].tolist(),
    })
)  # fmt: skip
