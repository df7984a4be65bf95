"""Binance's protocol as values: bytes and ``now_ns`` in, values out. Nothing here awaits or reads a clock."""
