-- Trades and candles. A line that ends in "-- on postgresql" or "-- on timescaledb" runs on that family alone.
-- Never edit a released file: databases remember its checksum. Add the next number instead.

CREATE TABLE trades (
    time            TIMESTAMPTZ    NOT NULL,
    venue           TEXT           NOT NULL DEFAULT 'spot',
    symbol          TEXT           NOT NULL,
    trade_id        BIGINT         NOT NULL,
    price           NUMERIC(20, 8) NOT NULL,
    quantity        NUMERIC(20, 8) NOT NULL,
    first_trade_id  BIGINT         NOT NULL,
    last_trade_id   BIGINT         NOT NULL,
    is_buyer_maker  BOOLEAN        NOT NULL,
    received_at     TIMESTAMPTZ,
    -- time first: measured, docs/decisions/0003-key-order.md
    CONSTRAINT trades_key UNIQUE (time, symbol, trade_id, venue)
)
PARTITION BY RANGE (time)  -- on postgresql
;

CREATE TABLE candles (
    time                    TIMESTAMPTZ    NOT NULL,
    venue                   TEXT           NOT NULL DEFAULT 'spot',
    symbol                  TEXT           NOT NULL,
    timeframe               TEXT           NOT NULL,
    open                    NUMERIC(20, 8) NOT NULL,
    high                    NUMERIC(20, 8) NOT NULL,
    low                     NUMERIC(20, 8) NOT NULL,
    close                   NUMERIC(20, 8) NOT NULL,
    volume                  NUMERIC(38, 8) NOT NULL,
    quote_volume            NUMERIC(38, 8),
    trade_count             BIGINT,
    taker_buy_volume        NUMERIC(38, 8),
    taker_buy_quote_volume  NUMERIC(38, 8),
    first_trade_id          BIGINT,
    last_trade_id           BIGINT,
    CONSTRAINT candles_key UNIQUE (venue, symbol, timeframe, time)
)
PARTITION BY RANGE (time)  -- on postgresql
;

SELECT create_hypertable('trades', by_range('time', INTERVAL '1 day'), create_default_indexes => FALSE);  -- on timescaledb
SELECT create_hypertable('candles', by_range('time', INTERVAL '30 days'), create_default_indexes => FALSE);  -- on timescaledb

COMMENT ON TABLE trades IS 'Aggregate trades; one row a trade, whatever was replayed';
COMMENT ON COLUMN trades.time IS 'time of the trade, by the exchange''s clock';
COMMENT ON COLUMN trades.trade_id IS 'aggregate trade id, without holes within venue and symbol';
COMMENT ON COLUMN trades.first_trade_id IS 'first single trade in it, inclusive';
COMMENT ON COLUMN trades.last_trade_id IS 'last single trade in it, inclusive';
COMMENT ON COLUMN trades.is_buyer_maker IS 'true: the seller was the taker';
COMMENT ON COLUMN trades.received_at IS 'when the recorder received it, by its own clock; NULL: it came from a backfill';
COMMENT ON TABLE candles IS 'Closed candles only';
COMMENT ON COLUMN candles.time IS 'open time';
COMMENT ON COLUMN candles.volume IS 'in the base asset';
COMMENT ON COLUMN candles.quote_volume IS 'in the quote asset';
COMMENT ON COLUMN candles.first_trade_id IS 'NULL: unknown (from REST); -1: the candle is empty';
