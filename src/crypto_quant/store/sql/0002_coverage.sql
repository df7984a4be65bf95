-- Which aggregate ids are proven: inclusive ranges, extended in the transaction that stores the rows.
-- Plain tables on every tier: a few rows a symbol, updated in place.

CREATE TABLE coverage (
    venue        TEXT        NOT NULL,
    symbol       TEXT        NOT NULL,
    first_id     BIGINT      NOT NULL,
    last_id      BIGINT      NOT NULL,
    source       TEXT        NOT NULL,
    newest       BOOLEAN     NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- deferrable: two recorders that begin a symbol at once meet at coverage_newest below, where one waits for the
    -- other; a key that is checked on the spot would turn one of them away first
    CONSTRAINT coverage_key PRIMARY KEY (venue, symbol, first_id) DEFERRABLE,
    CONSTRAINT coverage_range CHECK (0 <= first_id AND first_id <= last_id),
    CONSTRAINT coverage_source CHECK (source IN ('stream', 'rest', 'archive', 'stored', 'void'))
)
-- last_id stands in no index, so that growing a range rewrites one heap tuple and no index; the room is for that
WITH (fillfactor = 50);

-- The highest range of each symbol: what grows, and the one lock that whoever changes a symbol's ranges must hold.
CREATE UNIQUE INDEX coverage_newest ON coverage (venue, symbol) WHERE newest;

CREATE TABLE absences (
    venue      TEXT        NOT NULL,
    symbol     TEXT        NOT NULL,
    first_id   BIGINT      NOT NULL,
    last_id    BIGINT      NOT NULL,
    proof      TEXT        NOT NULL,
    proven_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT absences_key PRIMARY KEY (venue, symbol, first_id),
    CONSTRAINT absences_range CHECK (0 <= first_id AND first_id <= last_id),
    CONSTRAINT absences_proof CHECK (proof <> '')
);

COMMENT ON TABLE coverage IS 'Aggregate trade ids that are proven to be stored; ranges of one symbol never overlap';
COMMENT ON COLUMN coverage.first_id IS 'inclusive';
COMMENT ON COLUMN coverage.last_id IS 'inclusive';
COMMENT ON COLUMN coverage.source IS 'stream, rest, archive; stored: found in the table by reading it; void: ids that the exchange has neutralised, rightly without a row';
COMMENT ON COLUMN coverage.newest IS 'true for the highest range of the symbol';
COMMENT ON COLUMN coverage.recorded_at IS 'when the range was begun';
COMMENT ON COLUMN coverage.updated_at IS 'when it last grew';
COMMENT ON TABLE absences IS 'Ids that no source has, recorded after proof';
COMMENT ON COLUMN absences.proof IS 'who was asked for what, when, and what the answer was';
