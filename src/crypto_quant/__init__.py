"""Record an exchange's public market data into TimescaleDB/PostgreSQL: exact, complete, provable."""
