-- The table of trades of cryptofeed's own example for PostgreSQL, but with time zones and a bigger key.
CREATE TABLE trades (
    id bigserial PRIMARY KEY,
    timestamp timestamptz,
    receipt_timestamp timestamptz,
    exchange varchar(32),
    symbol varchar(32),
    side varchar(8),
    amount numeric(64, 32),
    price numeric(64, 32),
    trade_id varchar(64),
    order_type varchar(32)
);
