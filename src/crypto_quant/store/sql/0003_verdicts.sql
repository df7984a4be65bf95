-- What `verify --deep` found: fields of stored candles that the stored trades contradict. It is made anew, for the
-- days that were read, by each such run: a candle that agrees now has no row.

CREATE TABLE verdicts (
    venue       TEXT        NOT NULL,
    symbol      TEXT        NOT NULL,
    timeframe   TEXT        NOT NULL,
    time        TIMESTAMPTZ NOT NULL,
    field       TEXT        NOT NULL,
    stored      TEXT        NOT NULL,
    derived     TEXT        NOT NULL,
    checked_at  TIMESTAMPTZ NOT NULL,
    CONSTRAINT verdicts_key PRIMARY KEY (venue, symbol, timeframe, time, field)
);

COMMENT ON TABLE verdicts IS 'Stored candles that their own trades contradict, a row a field';
COMMENT ON COLUMN verdicts.time IS 'open time of the candle';
COMMENT ON COLUMN verdicts.stored IS 'what the candle says';
COMMENT ON COLUMN verdicts.derived IS 'what its trades say';
