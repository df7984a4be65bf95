"""What nautilus_trader finds in a catalog, and in Tardis' CSV, as JSON; run by nautilus_trader's own Python."""

import json
import sys

from nautilus_trader.adapters.tardis.loaders import TardisCSVDataLoader
from nautilus_trader.model.data import TradeTick
from nautilus_trader.persistence.catalog import ParquetDataCatalog

catalog = ParquetDataCatalog(sys.argv[1])
trades = catalog.trade_ticks(instrument_ids=[sys.argv[2]])
bars = catalog.bars(bar_types=[sys.argv[3]])
csv = [trade for name in sys.argv[4].split(",") for trade in TardisCSVDataLoader().load_trades(name)]


def told(trade: TradeTick) -> list[object]:
    return [str(trade.trade_id), str(trade.price), str(trade.size), trade.aggressor_side.name, trade.ts_event]


print(
    json.dumps({
        "trades": [told(trade) for trade in trades],
        "bars": [[str(each.open), str(each.high), str(each.low), str(each.close), str(each.volume), each.ts_event]
                 for each in bars],
        "intervals": catalog.get_intervals(TradeTick, sys.argv[2]),
        "csv": [[*told(trade), trade.ts_init] for trade in csv],
    })
)  # fmt: skip
