-- Closed stretches of each series, sealed: what was stored there, by a digest of its rows, and a digest of all of that
-- and the seal before it. docs/proof.md says what they prove; `crypto_quant/seals.py` makes and checks them.

CREATE TABLE seals (
    venue       TEXT        NOT NULL,
    symbol      TEXT        NOT NULL,
    stream      TEXT        NOT NULL,
    number      BIGINT      NOT NULL,
    first       BIGINT      NOT NULL,
    last        BIGINT      NOT NULL,
    first_time  TIMESTAMPTZ NOT NULL,
    last_time   TIMESTAMPTZ NOT NULL,
    rows        BIGINT      NOT NULL,
    known       TEXT        NOT NULL,
    digest      TEXT        NOT NULL,
    replaces    BIGINT,
    reason      TEXT        NOT NULL,
    sealed_at   TIMESTAMPTZ NOT NULL,
    before      TEXT        NOT NULL,
    seal        TEXT        NOT NULL,
    CONSTRAINT seals_key PRIMARY KEY (venue, symbol, stream, number),
    CONSTRAINT seals_range CHECK (0 <= first AND first <= last AND first_time <= last_time AND 0 <= rows)
);

CREATE INDEX seals_time ON seals (first_time);

-- The newest seal of each series: without it the end of a chain could be cut off unseen.
CREATE TABLE seal_heads (
    venue   TEXT        NOT NULL,
    symbol  TEXT        NOT NULL,
    stream  TEXT        NOT NULL,
    number  BIGINT      NOT NULL,
    seal    TEXT        NOT NULL,
    reach   BIGINT      NOT NULL,
    until   TIMESTAMPTZ NOT NULL,
    CONSTRAINT seal_heads_key PRIMARY KEY (venue, symbol, stream)
);

COMMENT ON TABLE seals IS 'Digests of what is stored, a chain a series; written once, never changed';
COMMENT ON COLUMN seals.stream IS 'aggTrade, or kline_ and the timeframe';
COMMENT ON COLUMN seals.number IS '0, 1, 2 … within the series';
COMMENT ON COLUMN seals.first IS 'the first id, or slot, that it answers for; inclusive';
COMMENT ON COLUMN seals.last IS 'the last id, or slot, that it answers for; inclusive';
COMMENT ON COLUMN seals.first_time IS 'time of the earliest row in it; where it has none, when it was sealed';
COMMENT ON COLUMN seals.last_time IS 'time of the latest row in it; where it has none, when it was sealed';
COMMENT ON COLUMN seals.known IS 'what was claimed from first to last: ranges of ids or slots, each with its source';
COMMENT ON COLUMN seals.digest IS 'SHA-256 of the canonical text of the rows, in two levels: by minute, then all; of candles a second one of their trade ids';
COMMENT ON COLUMN seals.replaces IS 'number of the seal of the same stretch before a repair';
COMMENT ON COLUMN seals.before IS 'seal of the number before; empty for the first';
COMMENT ON COLUMN seals.seal IS 'SHA-256 of all other columns';
COMMENT ON TABLE seal_heads IS 'The newest seal of each series';
COMMENT ON COLUMN seal_heads.reach IS 'the highest id, or slot, that any seal of the series answers for';
COMMENT ON COLUMN seal_heads.until IS 'time of the latest row that is sealed';
