"""Binance's protocol as values: bytes and the time in, meanings out. Nothing here awaits or reads a clock."""
