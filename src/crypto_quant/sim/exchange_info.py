"""The listing: what ``exchangeInfo`` says of a symbol."""

from collections.abc import Iterable

from crypto_quant.sim.limits import Limits
from crypto_quant.sim.numbers import ONE, text8
from crypto_quant.sim.tape import SymbolInfo

STATUSES = ("TRADING", "HALT", "BREAK")
PERMISSION_SETS = [["SPOT", "MARGIN"]]


def listing(symbols: Iterable[SymbolInfo], limits: Limits, now_ms: int, *, with_sets: bool) -> dict[str, object]:
    """Return the body of ``exchangeInfo`` for these symbols."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
             "limit": limits.weight_per_minute},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
        ],
        "exchangeFilters": [],
        "symbols": [_row(symbol, with_sets) for symbol in symbols],
    }  # fmt: skip


def _row(symbol: SymbolInfo, with_sets: bool) -> dict[str, object]:
    return {
        "symbol": symbol.name,
        "status": symbol.status,
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT",
                       "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": text8(symbol.tick), "maxPrice": text8(symbol.tick * 10**8),
             "tickSize": text8(symbol.tick)},
            {"filterType": "LOT_SIZE", "minQty": text8(symbol.step), "maxQty": text8(symbol.step * 9 * 10**8),
             "stepSize": text8(symbol.step)},
            {"filterType": "ICEBERG_PARTS", "limit": 100},
            # a step of 0 means that the rule is not set
            {"filterType": "MARKET_LOT_SIZE", "minQty": text8(0), "maxQty": text8(symbol.step * 10**7),
             "stepSize": text8(0)},
            {"filterType": "NOTIONAL", "minNotional": text8(5 * ONE), "applyMinToMarket": True,
             "maxNotional": text8(9_000_000 * ONE), "applyMaxToMarket": False, "avgPriceMins": 5},
        ],
        "permissions": [],
        "permissionSets": PERMISSION_SETS if with_sets else [],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }  # fmt: skip
