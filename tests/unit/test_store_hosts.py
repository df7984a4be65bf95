"""Several servers of one database: who is asked, in which order, and whose refusal is final."""

import asyncio
from typing import Any

import asyncpg
import pytest

from crypto_quant.store.hosts import Hosts

URL = "postgresql://u:p@db1:1,db2/x"
STANDBY = asyncpg.exceptions.TargetServerAttributeNotMatched("None of the hosts match")


class Servers:
    """Stands in for ``asyncpg.connect``: what each host does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **does: Exception | None) -> None:
        self.does = does
        self.asked: list[dict[str, Any]] = []
        monkeypatch.setattr(asyncpg, "connect", self.connect)

    async def connect(self, url: str, **options: Any) -> str:
        self.asked.append(options)
        await asyncio.sleep(0)
        problem = self.does[options.get("host", "none")]
        if problem is not None:
            raise problem
        return str(options.get("host"))

    @property
    def order(self) -> list[Any]:
        return [options.get("host") for options in self.asked]


@pytest.mark.parametrize(
    "problem",
    [TimeoutError(), ConnectionRefusedError("refused"), STANDBY, asyncpg.CannotConnectNowError("starting up")],
)
async def test_the_next_host_is_asked_and_the_one_that_answered_comes_first(
    monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    servers = Servers(monkeypatch, db1=problem, db2=None)
    hosts = Hosts(URL)
    assert str(await hosts.connect(URL, timeout=10)) == "db2"
    assert str(await hosts.connect(URL, timeout=10)) == "db2"
    servers.does.update(db1=None, db2=problem)
    assert str(await hosts.connect(URL, timeout=10)) == "db1"
    assert servers.order == ["db1", "db2", "db2", "db2", "db1"]
    assert servers.asked[:2] == [
        {"timeout": 10, "host": "db1", "port": 1, "target_session_attrs": "read-write"},
        {"timeout": 10, "host": "db2", "target_session_attrs": "read-write"},
    ]


async def test_a_refused_password_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch, db1=asyncpg.InvalidPasswordError("no"), db2=None)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await Hosts(URL).connect(URL)
    assert servers.order == ["db1"]


async def test_when_none_takes_it_each_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    Servers(monkeypatch, db1=TimeoutError(), db2=STANDBY)
    with pytest.raises(OSError, match=r"^db1:1: no answer; db2: not the kind of server that is wanted"):
        await Hosts(URL).connect(URL)


@pytest.mark.parametrize("how", ["in the URL", "in the environment"])
async def test_whoever_says_which_kind_is_wanted_gets_it(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    servers = Servers(monkeypatch, db1=None)
    url = URL
    if how == "in the URL":
        url += "?target_session_attrs=any"
    else:
        monkeypatch.setenv("PGTARGETSESSIONATTRS", "any")
    await Hosts(url).connect(url)
    assert "target_session_attrs" not in servers.asked[0]


@pytest.mark.parametrize("url", ["postgresql://db1/x", "postgresql:///x"])
async def test_one_host_is_left_to_the_driver(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    servers = Servers(monkeypatch, none=None)
    await Hosts(url).connect(url, timeout=3)
    assert servers.asked == [{"timeout": 3}]
