"""Candles computed from trades, in SQL."""

# An array compares by its first element first, so the least one carries the price of the lowest id, without sorting.
# The time is written twice, as a range for the partitions and as a raster for the candles. It is run once a day of
# candles, or once for a candle that is longer: $3 to $4 is that span, and $5 the length of a candle in seconds.
# quote_volume: as `judgement` explains, above the exchange's by at most (single trades - aggregates) units.
BUILT_CANDLES = """
SELECT date_bin(make_interval(secs => $5), "time", $3) AS opens,
       (min(ARRAY[trade_id, price]))[2] AS open, max(price) AS high, min(price) AS low,
       (max(ARRAY[trade_id, price]))[2] AS close, sum(quantity) AS volume,
       sum(trunc(price * quantity, 8)) AS quote_volume,
       sum(last_trade_id - first_trade_id + 1)::bigint AS trade_count,
       coalesce(sum(quantity) FILTER (WHERE NOT is_buyer_maker), 0) AS taker_buy_volume,
       coalesce(sum(trunc(price * quantity, 8)) FILTER (WHERE NOT is_buyer_maker), 0) AS taker_buy_quote_volume,
       min(first_trade_id) AS first_trade_id, max(last_trade_id) AS last_trade_id, count(*) AS aggregates
FROM trades WHERE venue = $1 AND symbol = $2 AND "time" >= $3 AND "time" < $4
GROUP BY 1 ORDER BY 1"""
