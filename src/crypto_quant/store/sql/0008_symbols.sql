-- What the exchange lists: one row a symbol, as its latest exchangeInfo had it. Symbols that are gone stay, as last seen.
CREATE TABLE symbols (
    venue        TEXT        NOT NULL,
    symbol       TEXT        NOT NULL,
    base         TEXT        NOT NULL,
    quote        TEXT        NOT NULL,
    status       TEXT        NOT NULL,
    seen_at      TIMESTAMPTZ NOT NULL,
    CONSTRAINT symbols_key PRIMARY KEY (venue, symbol),
    CONSTRAINT symbols_assets CHECK (base <> '' AND quote <> '')
);

COMMENT ON TABLE symbols IS 'What exchangeInfo said of each symbol, and when; written when record and backfill check symbols';
COMMENT ON COLUMN symbols.base IS 'the base asset as the exchange writes it: BTC';
COMMENT ON COLUMN symbols.status IS 'as the exchange writes it: TRADING, BREAK …; empty: it said none';
COMMENT ON COLUMN symbols.seen_at IS 'time of the latest exchangeInfo that had it, by the exchange''s clock';
