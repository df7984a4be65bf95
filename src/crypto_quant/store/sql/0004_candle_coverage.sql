-- Which candles are proven: as coverage and absences are for aggregate ids, with slots in the place of ids.
-- A slot is the number of a candle of its timeframe: open time / length, counted from 1970.

CREATE TABLE candle_coverage (
    venue        TEXT        NOT NULL,
    symbol       TEXT        NOT NULL,
    timeframe    TEXT        NOT NULL,
    first_slot   BIGINT      NOT NULL,
    last_slot    BIGINT      NOT NULL,
    source       TEXT        NOT NULL,
    newest       BOOLEAN     NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- deferrable for the reason that coverage_key is
    CONSTRAINT candle_coverage_key PRIMARY KEY (venue, symbol, timeframe, first_slot) DEFERRABLE,
    CONSTRAINT candle_coverage_range CHECK (0 <= first_slot AND first_slot <= last_slot),
    CONSTRAINT candle_coverage_source CHECK (source IN ('stream', 'rest', 'archive', 'stored'))
)
WITH (fillfactor = 50);

-- The highest range of each series: what grows, and the one lock that whoever changes its ranges must hold.
CREATE UNIQUE INDEX candle_coverage_newest ON candle_coverage (venue, symbol, timeframe) WHERE newest;

CREATE TABLE candle_absences (
    venue       TEXT        NOT NULL,
    symbol      TEXT        NOT NULL,
    timeframe   TEXT        NOT NULL,
    first_slot  BIGINT      NOT NULL,
    last_slot   BIGINT      NOT NULL,
    proof       TEXT        NOT NULL,
    proven_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT candle_absences_key PRIMARY KEY (venue, symbol, timeframe, first_slot),
    CONSTRAINT candle_absences_range CHECK (0 <= first_slot AND first_slot <= last_slot),
    CONSTRAINT candle_absences_proof CHECK (proof <> '')
);

COMMENT ON TABLE candle_coverage IS 'Candles that are proven to be stored; ranges of one series never overlap';
COMMENT ON COLUMN candle_coverage.first_slot IS 'inclusive; up to 1d it opens at slot x length since 1970, 1w counts from Monday 1969-12-29, 1M from January 1970';
COMMENT ON COLUMN candle_coverage.last_slot IS 'inclusive';
COMMENT ON COLUMN candle_coverage.source IS 'stream, rest, archive; stored: found in the table by reading it';
COMMENT ON COLUMN candle_coverage.newest IS 'true for the highest range of the series';
COMMENT ON COLUMN candle_coverage.recorded_at IS 'when the range was begun';
COMMENT ON COLUMN candle_coverage.updated_at IS 'when it last grew';
COMMENT ON TABLE candle_absences IS 'Candles that no source has, recorded after proof';
COMMENT ON COLUMN candle_absences.proof IS 'who was asked for what, when, and what the answer was';
