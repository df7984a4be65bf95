"""``BTCUSDT`` taken apart: tools that write ``BTC/USDT`` ask where the one ends and the other begins."""

from crypto_quant.errors import ConfigError

# What the exchange quotes in, or has quoted in; of two that fit the longer one holds, as in BTCFDUSD.
QUOTES = (
    "FDUSD", "BFUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "USDS", "USD1", "USDE", "EURI", "AEUR", "BIDR", "IDRT",
    "BVND", "BKRW", "PAX", "DAI", "VAI", "UST", "BTC", "ETH", "BNB", "SOL", "XRP", "TRX", "DOGE", "DOT", "EUR", "GBP",
    "AUD", "TRY", "BRL", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "MXN", "COP", "CZK", "JPY", "IDR", "USD",
)  # fmt: skip


def pair_of(symbol: str) -> tuple[str, str]:
    """Return base and quote asset of a symbol as the exchange writes it. Raises ConfigError when no quote fits."""
    fitting = [quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote]
    if not fitting:
        raise ConfigError(
            "cannot tell the base asset of this symbol from its quote asset",
            subject=symbol,
            hint="Export it as parquet or csv, which keep the symbol as it is",
        )
    quote = max(fitting, key=len)
    return symbol.removesuffix(quote), quote
