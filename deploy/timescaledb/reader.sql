-- A role that may read everything and change nothing, for Grafana. The image runs this when it makes the database; in
-- one that is there already:
--   docker compose -f docker-compose.yml -f docker-compose.monitoring.yml exec timescaledb \
--     psql -U crypto_quant -d crypto_quant -f /docker-entrypoint-initdb.d/reader.sql
\getenv password CRYPTO_QUANT_READER_PASSWORD
CREATE ROLE crypto_quant_reader LOGIN PASSWORD :'password';
GRANT pg_read_all_data TO crypto_quant_reader;
ALTER ROLE crypto_quant_reader SET default_transaction_read_only = on;
ALTER ROLE crypto_quant_reader SET statement_timeout = '30s';
