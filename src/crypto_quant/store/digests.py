"""The SQL behind a certificate's digests: the very text that a certificate carries, for psql as for the driver.

Variables stand as psql writes them (``:'day'``). A digest covers what the exchange said and not when we heard it
(``received_at``), so two recorders that hold the same trades have the same digest.
"""

import re

# Two levels, minute by minute and then the day, because one text value of PostgreSQL ends at 1 GB.
TRADE_DIGESTS = """WITH bounds AS (
    SELECT * FROM unnest(:'venues'::text[], :'symbols'::text[], :'firsts'::bigint[], :'lasts'::bigint[])
        AS given (venue, symbol, first_id, last_id)),
minutes AS (
    SELECT venue, symbol, date_trunc('minute', "time" AT TIME ZONE 'UTC') AS minute, count(*) AS rows,
           encode(sha256(convert_to(string_agg(
               concat_ws(',', trade_id, price, quantity, first_trade_id, last_trade_id,
                         (extract(epoch FROM "time") * 1000000)::bigint,
                         CASE WHEN is_buyer_maker THEN 't' ELSE 'f' END),
               E'\\n' ORDER BY "time", trade_id), 'UTF8')), 'hex') AS sha256
    FROM trades JOIN bounds USING (venue, symbol)
    WHERE "time" >= :'day'::date::timestamp AT TIME ZONE 'UTC'
      AND "time" < (:'day'::date + 1)::timestamp AT TIME ZONE 'UTC'
      AND trade_id BETWEEN first_id AND last_id
    GROUP BY 1, 2, 3)
SELECT venue, symbol, '' AS timeframe, sum(rows)::bigint AS rows,
       encode(sha256(convert_to(string_agg(sha256, E'\\n' ORDER BY minute), 'UTF8')), 'hex') AS sha256
FROM minutes GROUP BY venue, symbol ORDER BY 1, 2"""

CANDLE_DIGESTS = """WITH bounds AS (
    SELECT * FROM unnest(:'venues'::text[], :'symbols'::text[], :'timeframes'::text[], :'firsts'::bigint[],
                         :'lasts'::bigint[]) AS given (venue, symbol, timeframe, first_us, last_us)),
each AS (
    SELECT *, (extract(epoch FROM "time") * 1000000)::bigint AS open_us
    FROM candles JOIN bounds USING (venue, symbol, timeframe)
    WHERE "time" >= :'day'::date::timestamp AT TIME ZONE 'UTC'
      AND "time" < (:'day'::date + 1)::timestamp AT TIME ZONE 'UTC')
SELECT venue, symbol, timeframe, count(*) AS rows,
       encode(sha256(convert_to(string_agg(
           concat_ws(',', open_us, open, high, low, close, volume, coalesce(quote_volume::text, ''),
                     coalesce(trade_count::text, ''), coalesce(taker_buy_volume::text, ''),
                     coalesce(taker_buy_quote_volume::text, ''), coalesce(first_trade_id::text, ''),
                     coalesce(last_trade_id::text, '')),
           E'\\n' ORDER BY open_us), 'UTF8')), 'hex') AS sha256
FROM each WHERE open_us BETWEEN first_us AND last_us
GROUP BY venue, symbol, timeframe ORDER BY 1, 2, 3"""


def for_driver(sql: str) -> tuple[str, list[str]]:
    """Return the statement with ``$1`` … in place of psql's variables, and the variables' names in that order."""
    names: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return re.sub(r":'(\w+)'", numbered, sql), names
