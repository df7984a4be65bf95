"""What hftbacktest finds in its own files, and makes of Tardis' CSV, as JSON; run by hftbacktest's own Python."""

import json
import sys

import numpy as np
from hftbacktest import BUY_EVENT, BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data.utils import tardis
from hftbacktest.data.validation import validate_event_order

files, csvs = sys.argv[1].split(","), sys.argv[2].split(",")
converted = [tardis.convert([name], buffer_size=100_000, ss_buffer_size=10) for name in csvs]
same = []
for name, theirs in zip(files, converted, strict=True):
    ours = np.load(name)["data"]
    validate_event_order(ours)
    same.append(bool((ours == theirs).all()))
asset = (
    BacktestAsset().data(files).linear_asset(1.0).constant_order_latency(0, 0).risk_adverse_queue_model()
    .no_partial_fill_exchange().trading_value_fee_model(0, 0).tick_size(0.01).lot_size(0.0001)
    .last_trades_capacity(100_000)
)  # fmt: skip
market = HashMapMarketDepthBacktest([asset])
seen = []
while True:
    code = market.elapse(600_000_000_000)
    for each in market.last_trades(0):
        side = "buy" if each["ev"] & BUY_EVENT == BUY_EVENT else "sell"
        seen.append([int(each["exch_ts"]), int(each["local_ts"]), side, float(each["px"]), float(each["qty"])])
    market.clear_last_trades(0)
    if code:
        break
market.close()
print(json.dumps({"same_as_tardis": same, "trades": seen}))
