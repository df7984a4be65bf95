-- What was dropped on purpose, and the rules by which it is.

-- Ids that were stored and are not any more: ranges as in coverage, from which they are taken when they come here.
-- An id that is fetched again is covered again, and stays here; covered says more.
CREATE TABLE dropped (
    venue        TEXT        NOT NULL,
    symbol       TEXT        NOT NULL,
    first_id     BIGINT      NOT NULL,
    last_id      BIGINT      NOT NULL,
    source       TEXT        NOT NULL,
    newest       BOOLEAN     NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT dropped_key PRIMARY KEY (venue, symbol, first_id) DEFERRABLE,
    CONSTRAINT dropped_range CHECK (0 <= first_id AND first_id <= last_id),
    CONSTRAINT dropped_source CHECK (source IN ('policy', 'hand'))
);

CREATE UNIQUE INDEX dropped_newest ON dropped (venue, symbol) WHERE newest;

CREATE TABLE candle_dropped (
    venue        TEXT        NOT NULL,
    symbol       TEXT        NOT NULL,
    timeframe    TEXT        NOT NULL,
    first_slot   BIGINT      NOT NULL,
    last_slot    BIGINT      NOT NULL,
    source       TEXT        NOT NULL,
    newest       BOOLEAN     NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT candle_dropped_key PRIMARY KEY (venue, symbol, timeframe, first_slot) DEFERRABLE,
    CONSTRAINT candle_dropped_range CHECK (0 <= first_slot AND first_slot <= last_slot),
    CONSTRAINT candle_dropped_source CHECK (source IN ('policy', 'hand'))
);

CREATE UNIQUE INDEX candle_dropped_newest ON candle_dropped (venue, symbol, timeframe) WHERE newest;

-- One row a table that has a rule; NULL: this is not done.
CREATE TABLE policies (
    table_name         TEXT        NOT NULL CONSTRAINT policies_key PRIMARY KEY,
    columnstore_after  INTERVAL,
    drop_after         INTERVAL,
    export_directory   TEXT,
    declared_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT policies_table CHECK (table_name IN ('trades', 'candles'))
);

COMMENT ON TABLE dropped IS 'Aggregate trade ids whose rows were dropped on purpose; where coverage has them too, they were fetched again';
COMMENT ON COLUMN dropped.source IS 'policy: the declared rule; hand: db drop';
COMMENT ON TABLE candle_dropped IS 'Candles whose rows were dropped on purpose, as slots; see candle_coverage';
COMMENT ON TABLE policies IS 'How long rows are kept, and when they become columns; written by crypto-quant db policy';
COMMENT ON COLUMN policies.export_directory IS 'drop nothing that the manifests of this export do not have';
