"""``crypto-quant doctor`` on real servers: what it finds, what it advises, and that it leaves nothing behind."""

import asyncio
import json
import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import trustme
from commands import program
from forward_proxy import forwarding
from own_servers import own_server, standby_of
from programs import cut

from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.store.migrate import migrate

NAMES = [
    "python", "event_loop", "settings", "file_limit", "memory", "data_disk", "spool_disk", "spool_rows",
    "database_disk", "proxy", "rest", "clock", "websocket", "archive", "database", "postgresql", "timescaledb",
    "encoding", "schema", "rights", "durability", "wal", "shared_buffers", "locks", "publications", "connections",
    "background_workers", "timezone",
]  # fmt: skip
INSIDE = NAMES[NAMES.index("postgresql") :]


@asynccontextmanager
async def exchange(ahead_s: int = 0) -> AsyncIterator[SimulatedExchange]:
    """An exchange whose clock is so many seconds ahead of ours."""
    start_us = time.time_ns() // 1000 + ahead_s * 1_000_000
    async with SimulatedExchange(SyntheticTape(invented(["BTCUSDT"]), rate=20, seed=1, start_us=start_us)) as made:
        yield made


async def told(
    url: str, directory: Path, *words: str, environment: dict[str, str] | None = None
) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the findings by their names, and the exit code."""
    done = await program(url, directory, "doctor", "--json", *words, environment=environment)
    assert done.err == "", done.err
    report = json.loads(done.out)
    assert [each["check"] for each in report["findings"]] == NAMES
    assert (done.code == 1) is (report["verdict"] == "failed")
    return {each["check"]: each for each in report["findings"]}, done.code


async def at(made: SimulatedExchange, url: str, directory: Path, *words: str, **more: Any) -> dict[str, dict[str, Any]]:
    found, _ = await told(url, directory, "--ws-url", made.ws_url, *words, **more)
    return found


def verdicts(found: dict[str, dict[str, Any]], *names: str) -> list[str]:
    return [found[name]["verdict"] for name in names]


def within(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def holds(url: str) -> list[Any]:
    """Return everything of ours that a database could hold, and which extensions it has."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        rows = await connection.fetch(
            "SELECT relname::text AS name FROM pg_class WHERE relnamespace = to_regnamespace('public')"
            " UNION ALL SELECT extname::text FROM pg_extension ORDER BY name"
        )
        return [row["name"] for row in rows]
    finally:
        await connection.close()


async def records(made: SimulatedExchange, url: str, directory: Path) -> None:
    """Record for some seconds; everything must reach the tables, and nothing the spool."""
    done = await program(
        url, directory, "record", "btcusdt", "--stream", "aggTrade", "--stream", "kline_1s", "--ws-url", made.ws_url,
        "--duration", "3", "--log-format", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    last = json.loads(done.err.splitlines()[-1])
    assert last["trades_written"] > 0, done.err
    assert last["candles_written"] > 0, done.err
    assert last["pending_trades"] == last["spooled_rows"] == 0, done.err


# -- the database -----------------------------------------------------------------------------------------


async def test_each_tier_before_and_after_its_tables_are_made(tier_url: str, tmp_path: Path) -> None:
    before = await holds(tier_url)
    async with exchange() as made:
        found = await at(made, tier_url, tmp_path)
        assert await holds(tier_url) == before
        assert "none yet" in found["schema"]["found"]
        assert verdicts(found, "database", "postgresql", "encoding", "schema", "rights") == ["ok"] * 5
        connection = await asyncpg.connect(tier_url, statement_cache_size=0)
        tier = (await migrate(connection)).tier
        await connection.close()
        found = await at(made, tier_url, tmp_path)
    assert "current" in found["schema"]["found"]
    assert verdicts(found, "timescaledb", "schema", "rights") == ["ok"] * 3
    edition = {"postgresql": "plain PostgreSQL", "timescaledb-apache": "Apache", "timescaledb-community": "Community"}
    assert edition[tier.value] in found["timescaledb"]["found"]
    assert (found["background_workers"]["verdict"] == "skipped") is (tier.value != "timescaledb-community")
    assert within(tmp_path) == []


async def test_settings_that_lose_or_slow(tmp_path: Path) -> None:
    slow = {"max_wal_size": "64MB", "checkpoint_timeout": "60s", "timezone": "'Asia/Tokyo'", "max_connections": "9"}
    async with exchange() as made, own_server(fsync="off", **slow) as server:
        found = await at(made, server.url, tmp_path)
        expected = ("durability", "wal", "shared_buffers", "connections", "timezone")
        assert verdicts(found, *expected) == ["failed", "warning", "warning", "failed", "warning"]
        assert "Asia/Tokyo" in found["timezone"]["found"]
        assert "64.0 MiB, checkpoint_timeout 0:01:00" in found["wal"]["found"]
        for name in ("durability", "wal", "timezone"):
            await server.sql(found[name]["remedy"].partition(";")[0])
        await server.sql("SELECT pg_reload_conf()")
        found = await at(made, server.url, tmp_path)
        # what is advised is enough, but for the second of two things that were wrong with one
        assert verdicts(found, "durability", "timezone") == ["ok", "ok"]
        assert "checkpoint_timeout" in found["wal"]["remedy"]
        await server.sql(found["wal"]["remedy"].partition(";")[0], "SELECT pg_reload_conf()")
        assert verdicts(await at(made, server.url, tmp_path), "wal") == ["ok"]
        await server.sql("ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")
        assert verdicts(await at(made, server.url, tmp_path), "durability") == ["warning"]


async def test_a_standby_is_told_from_its_primary(tmp_path: Path) -> None:
    async with exchange() as made, own_server() as primary, standby_of(primary) as standby:
        found = await at(made, standby.url, tmp_path)
        assert verdicts(found, "database", "postgresql") == ["ok", "failed"]
        assert "standby" in found["postgresql"]["found"]
        login, _, path = (primary.url.rpartition("@")[0], "", primary.url.rpartition("/")[2])
        both = f"{login}@{standby.address},{primary.address}/{path}"
        assert verdicts(await at(made, both, tmp_path), "database", "postgresql") == ["ok", "ok"]


async def test_the_grants_that_are_advised_are_enough(database_url: str, tmp_path: Path) -> None:
    """A user without rights, before there are tables and afterwards: each remedy is carried out to the letter."""
    admin = await asyncpg.connect(database_url)
    parts = urlsplit(database_url)
    name = f"{parts.path[1:]}-Role"
    role = f'"{name}"'  # a name that SQL takes only in quotes
    url = urlunsplit(parts._replace(netloc=f"{name}:geheim@{parts.hostname}:{parts.port}"))
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'geheim'")
    try:
        await admin.execute(f"REVOKE TEMPORARY ON DATABASE {parts.path[1:]} FROM PUBLIC")
        async with exchange() as made:
            found = await at(made, url, tmp_path)
            assert verdicts(found, "schema", "rights") == ["ok", "failed"]
            remedy = found["rights"]["remedy"]
            assert "TEMPORARY" in remedy
            assert "CREATE ON SCHEMA public" in remedy
            await admin.execute(remedy)
            found = await at(made, url, tmp_path)
            # the tables could be made; without the right to the extension they would be plain ones
            assert found["rights"]["verdict"] in ("ok", "warning")
            assert ("superuser" in found["rights"]["remedy"]) is (found["rights"]["verdict"] == "warning")
            plain = (await migrate(admin)).tier == "postgresql"
            found = await at(made, url, tmp_path)
            # not even which version they are may be read
            assert verdicts(found, "schema", "rights") == ["failed", "skipped"]
            await admin.execute(f"GRANT SELECT ON crypto_quant_schema TO {role}")
            found = await at(made, url, tmp_path)
            assert verdicts(found, "schema", "rights") == ["ok", "failed"]
            grants = [each for each in found["rights"]["remedy"].split("; ") if "the role that owns" not in each]
            assert (len(grants) < len(found["rights"]["remedy"].split("; "))) is plain
            await admin.execute("; ".join(grants))
            if plain:
                await admin.execute(f"GRANT {parts.username} TO {role}")
            assert verdicts(await at(made, url, tmp_path), "schema", "rights") == ["ok", "ok"]
            assert "geheim" not in json.dumps(found)
            for _ in range(2):  # the second goes on from what the first has proven, and fills what lies between
                await records(made, url, tmp_path)
    finally:
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await admin.close()


async def test_tables_of_others_are_found(database_url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE trades (id INT)")
    await connection.close()
    async with exchange() as made:
        found = await at(made, database_url, tmp_path)
    assert verdicts(found, "schema", "rights") == ["failed", "skipped"]
    assert "crypto-quant did not make" in found["schema"]["found"]


async def test_a_database_that_is_read_only(postgres_url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"ALTER DATABASE {urlsplit(postgres_url).path[1:]} SET default_transaction_read_only = on")
    await connection.close()
    async with exchange() as made:
        found = await at(made, postgres_url, tmp_path)
    assert verdicts(found, "database", "postgresql") == ["ok", "failed"]


async def test_a_wrong_password_and_a_server_that_is_not_there(postgres_url: str, tmp_path: Path) -> None:
    parts = urlsplit(postgres_url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        cases = {
            "wrong": (f"{parts.username}:geheim@{parts.hostname}:{parts.port}", "pg_hba.conf"),
            "refused": (f"{parts.username}:geheim@127.0.0.1:{taken.getsockname()[1]}", "Is the database running"),
            "unknown": (f"{parts.username}:geheim@nowhere.invalid:5432", "Is the database running"),
        }
        async with exchange() as made:
            for place, remedy in cases.values():
                found, code = await told(urlunsplit(parts._replace(netloc=place)), tmp_path, "--ws-url", made.ws_url)
                assert code == 1
                assert found["database"]["verdict"] == "failed"
                assert remedy in found["database"]["remedy"]
                assert verdicts(found, *INSIDE) == ["skipped"] * len(INSIDE)
                assert verdicts(found, "rest", "websocket", "python") == ["ok"] * 3
                assert "geheim" not in json.dumps(found)


async def test_a_server_that_takes_the_connection_and_says_nothing(tmp_path: Path) -> None:
    async def silence(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ends.append(writer)

    open_ends: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    try:
        url = f"postgresql://u@127.0.0.1:{port}/d"
        found, code = await told(url, tmp_path, "--ws-url", f"ws://127.0.0.1:{port}")
    finally:
        for end in open_ends:
            end.close()
        silent.close()
    assert code == 1
    assert verdicts(found, "database", "rest", "websocket", "archive") == ["failed", "failed", "failed", "warning"]
    assert "too long" in found["database"]["found"]


# -- the embedded database --------------------------------------------------------------------------------


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A place that every user can enter."""
    path = Path(tempfile.mkdtemp(prefix="cq-doctor-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    EmbeddedDatabase(path).stop()
    shutil.rmtree(path)


async def test_the_embedded_database_is_neither_made_nor_started(open_directory: Path) -> None:
    async with exchange() as made:
        nothing = open_directory / "not" / "yet"
        found = await at(made, "", nothing.parent.parent, "--data-dir", str(nothing))
        assert "does not exist yet" in found["database"]["found"]
        assert verdicts(found, "database", *INSIDE) == ["skipped"] * (1 + len(INSIDE))
        assert verdicts(found, "database_disk") == ["ok"]
        assert within(open_directory) == []

        database = EmbeddedDatabase(open_directory)
        await asyncio.to_thread(database.start)
        found = await at(made, "", open_directory)
        safe = (
            "database",
            "postgresql",
            "encoding",
            "schema",
            "rights",
            "durability",
            "wal",
            "publications",
            "connections",
            "timezone",
        )
        assert verdicts(found, *safe) == ["ok"] * len(safe)

        await asyncio.to_thread(database.stop)
        found = await at(made, "", open_directory)
        assert (found["database"]["verdict"], found["database"]["remedy"]) == ("skipped", "crypto-quant db start")
        assert not database.status().running


# -- the exchange -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead_s", "verdict", "words"), [
    (0, "ok", ""), (-20, "warning", "ahead of the exchange"), (20, "warning", "behind the exchange"),
    (3600, "failed", "behind the exchange"),
])  # fmt: skip
async def test_a_clock_that_is_wrong(tmp_path: Path, ahead_s: int, verdict: str, words: str) -> None:
    async with exchange(ahead_s) as made:
        found = await at(made, "", tmp_path)
    assert verdicts(found, "rest", "websocket", "clock") == ["ok", "ok", verdict]
    assert words in found["clock"]["found"]
    assert (found["clock"]["remedy"] != "") is (verdict != "ok")


async def test_the_proxy_is_named_without_its_password_or_refused(tmp_path: Path) -> None:
    async with exchange() as made, forwarding(int(made.ws_url.rpartition(":")[2])) as proxy:
        through = {"NO_PROXY": "", "HTTP_PROXY": f"me:secret@127.0.0.1:{proxy.port}"}
        words = ("--ws-url", "ws://exchange.test", "--rest-url", "http://exchange.test", "--archive-url", made.rest_url)
        found, _ = await told("", tmp_path, *words, environment=through)
        assert verdicts(found, "proxy", "rest", "websocket") == ["ok"] * 3
        name = f"http://me:***@127.0.0.1:{proxy.port} (HTTP_PROXY)"
        assert found["proxy"]["found"] == f"{name} for REST, WebSocket; none for archive"
        assert {method for method, _ in proxy.asked} == {"GET", "CONNECT"}
        found, code = await told("", tmp_path, *words, environment={"NO_PROXY": "", "HTTP_PROXY": "socks5h://s:1080"})
    assert code == 1
    assert verdicts(found, "proxy", "rest", "websocket") == ["failed"] * 3
    assert "socks5h://s:1080" in found["proxy"]["found"]
    assert "SOCKS is not supported" in found["proxy"]["remedy"]


@pytest.mark.parametrize(("status", "words"), [(451, "binance.vision"), (403, "five minutes"), (429, "Wait")])
async def test_an_exchange_that_refuses(tmp_path: Path, status: int, words: str) -> None:
    async with exchange() as made:
        made.faults.refuse_connections(seconds=60, status=status)
        made.faults.rest_errors(status=status, seconds=60)
        found = await at(made, "", tmp_path)
    assert verdicts(found, "rest", "clock", "websocket") == ["failed", "skipped", "failed"]
    for name in ("rest", "websocket"):
        assert f"HTTP {status}" in found[name]["found"]
        assert words in found[name]["remedy"]


async def test_a_certificate_that_nobody_has_signed(tmp_path: Path) -> None:
    authority = trustme.CA()
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with exchange() as made, cut(int(made.ws_url.rpartition(":")[2]), ssl=context) as (port, _):
        words = ("--ws-url", f"wss://localhost:{port}")
        found, code = await told("", tmp_path, *words, environment={"SSL_CERT_FILE": "", "HTTPS_PROXY": ""})
        assert code == 1
        for name in ("rest", "websocket", "archive"):
            assert "certificate" in found[name]["found"]
            assert "SSL_CERT_FILE" in found[name]["remedy"]
        found, _ = await told("", tmp_path, *words, environment={"SSL_CERT_FILE": str(file)})
        assert verdicts(found, "rest", "websocket", "clock") == ["ok"] * 3


async def test_a_url_that_is_none_is_one_finding(tmp_path: Path) -> None:
    async with exchange() as made:
        found = await at(made, "", tmp_path, "--archive-url", "ftp://x", "--rest-url", "nonsense")
    assert verdicts(found, "rest", "clock", "websocket", "archive") == ["failed", "failed", "ok", "failed"]
    assert "not a REST URL" in found["rest"]["found"]


# -- as a program -----------------------------------------------------------------------------------------


async def test_what_a_person_is_told(tmp_path: Path) -> None:
    async with exchange() as made:
        environment = {"CRYPTO_QUANT_UNHEARD_OF": "1", "NO_COLOR": "1"}
        done = await program("", tmp_path, "doctor", "--ws-url", made.ws_url, environment=environment)
    assert done.code == 0
    assert done.err == ""
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    assert lines[0].startswith("ok       python")
    assert any("CRYPTO_QUANT_UNHEARD_OF" in line and line.startswith("warning") for line in lines)
    assert any("→ unset CRYPTO_QUANT_UNHEARD_OF" in line for line in lines)
    assert any(line.startswith("skipped  13 checks") for line in lines)
    assert lines[-1].endswith("1 warning") or lines[-1].endswith("2 warning")


async def test_wrong_settings_are_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "crypto-quant.toml").write_text("linkz = 1\n")
    done = await program("", tmp_path, "doctor")
    assert done.code == 2
    assert "Did you mean 'links'?" in done.err
    assert "line 1" in done.err
