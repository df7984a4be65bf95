"""The questions that the documents recommend are quick: they open the days that they name, and give the right rows."""

import re
from datetime import timedelta
from pathlib import Path

import asyncpg
from test_retention import DAY, store

from crypto_quant.store.migrate import migrate
from crypto_quant.store.timescale import connect

PAGE = Path(__file__).resolve().parents[2] / "docs" / "database.md"


def documented(title: str) -> str:
    """Return the SQL below a comment of the page."""
    (found,) = re.findall(rf"```sql\n-- {re.escape(title)}\n(.*?);\n```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(found)


async def opened(connection: asyncpg.Connection, query: str) -> list[str]:
    """Return the days of trades that a question looks into."""
    plan = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, SUMMARY OFF) {query}")
    found = re.findall(
        r"Scan (?:Backward )?(?:using \S+ )?on (trades_p\S+|_hyper_\S+_chunk).*?\((?:actual|never)([^)]*)",
        "\n".join(row[0] for row in plan),
    )
    assert found, plan
    return [name for name, how in found if "executed" not in how]


async def test_the_last_trades_of_a_symbol_that_is_gone(database_url: str) -> None:
    connection = await connect(database_url)
    await migrate(connection)
    for number in range(6):
        await store(connection, DAY + timedelta(days=number), range(number * 10 + 1, number * 10 + 11), "ethusdt")
    await store(connection, DAY + timedelta(days=1, hours=3), range(1, 151))
    # as if it had been recorded on that day
    moment = DAY + timedelta(days=1, hours=3, minutes=3)
    await connection.execute("UPDATE coverage SET updated_at = $1 WHERE symbol = 'btcusdt'", moment)
    query = documented("the last 100 trades of a symbol that may have fallen silent")
    assert [row["trade_id"] for row in await connection.fetch(query)] == list(range(150, 50, -1))
    assert len(await opened(connection, query)) <= 2
    unbounded = "SELECT * FROM trades WHERE venue = 'spot' AND symbol = 'btcusdt' ORDER BY time DESC LIMIT 100"
    assert len(await opened(connection, unbounded)) == 5
    await connection.close()
