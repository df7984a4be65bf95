"""A record of more days than the server has locks for: what needs not ask them all at once does not."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from records import SERVERS, Record, record_on, trade

from crypto_quant.diagnosis import server
from crypto_quant.errors import StoreUnavailable
from crypto_quant.evidence import Scope
from crypto_quant.store import faults
from crypto_quant.store.audit_queries import AuditReader
from crypto_quant.store.inspection import open_inspection

DAYS = 40


@pytest.mark.parametrize("kind", [each for each in SERVERS if each != "community"])
async def test_the_ends_of_a_record_are_found_a_day_at_a_time(kind: str) -> None:
    async with record_on(kind) as record:
        await days(record)
        async with record.connection() as connection:
            statements: list[str] = []
            with connection.query_logger(lambda asked: statements.append(asked.query)):
                extent = await AuditReader(connection, "here").extent(Scope(None, ("btcusdt",)))
            assert extent is not None
            first, last = datetime(2024, 8, 8, tzinfo=UTC), datetime(2024, 8, 8, tzinfo=UTC) + timedelta(days=DAYS - 1)
            assert extent.start == int(first.timestamp()) * 10**9
            assert extent.end == int(last.timestamp()) * 10**9 + 1
            # one question to the first day and one to the last
            asked = [each for each in statements if 'SELECT "time" FROM trades' in each]
            assert len(asked) == 2
        async with open_inspection(record.url) as look:
            assert await look.days_to_lock() >= 2 * DAYS


async def days(record: Record) -> None:
    begin = datetime(2024, 8, 8, tzinfo=UTC)
    await record.trades([trade(number, begin + timedelta(days=number)) for number in range(DAYS)])


def test_doctor_says_how_many_locks_are_needed() -> None:
    usual = {"max_locks_per_transaction": "64", "max_connections": "100", "max_prepared_transactions": "0"}
    assert server.locks(usual, 1_600).verdict == "ok"
    found = server.locks(usual, 6_570)  # nine years, each day with its key
    assert found.verdict == "warning"
    assert "max_locks_per_transaction = 1024" in found.remedy
    assert server.locks({**usual, "max_locks_per_transaction": "1024"}, 6_570).verdict == "ok"


def test_the_hint_speaks_of_locks_and_not_of_memory() -> None:
    error = asyncpg.exceptions.OutOfMemoryError("out of shared memory")
    error.hint = "You might need to increase max_locks_per_transaction."  # type: ignore[attr-defined]
    problem = faults.translate(error, operation="reading", subject="here")
    assert isinstance(problem, StoreUnavailable)
    assert "Name a time" in problem.hint
    assert "max_locks_per_transaction = 1024" in problem.hint
