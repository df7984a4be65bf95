"""Database servers of a test's own, beside those that all tests share: to be copied, promoted, filled up and crashed.

They are made of the same programs as the shared ones (``scripts/test-databases``): TimescaleDB where its programs are
on this machine, else plain PostgreSQL.
"""

import asyncio
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _script() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "scripts" / "test-databases"
    loader = SourceFileLoader("own_test_databases", str(path))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


class OwnServer:
    """One cluster with its server; ``settings`` go into its postgresql.conf. Not yet there when it is made.

    ``plain``: PostgreSQL without TimescaleDB, wherever that is at hand.
    """

    def __init__(self, *, plain: bool = False, **settings: str) -> None:
        # not at import: pytest must not need the programs to collect
        script = _script()
        label = f"own-{uuid.uuid4().hex[:8]}"
        programs = script.Timescale.root / "usr/lib/postgresql/17/bin/postgres"
        timescale = not plain and os.getuid() == 0 and programs.exists()
        base: Any = script.Timescale if timescale else script.Postgres
        place = f"/var/lib/crypto-quant-test/{label}/data" if timescale else f"{script.STATE}/{label}/data"

        class Engine(base):  # type: ignore[misc]
            name = label

            def data(self) -> str:
                return place

        Engine.settings = {**base.settings, "shared_buffers": "64MB", **settings}
        script.CACHE.mkdir(parents=True, exist_ok=True)
        script.STATE.mkdir(parents=True, exist_ok=True)
        self.unavailable = script.Unavailable
        self.engine: Any = Engine()
        self._run = script.run
        self._login = {"PGPASSWORD": script.PASSWORD}
        self._user = script.USER
        self._port_file = script.STATE / f"{label}.port"

    @property
    def url(self) -> str:
        return str(self.engine.url())

    @property
    def address(self) -> str:
        """Host and port, as a URL of several servers names them."""
        return f"127.0.0.1:{self.engine.port()}"

    @property
    def directory(self) -> Path:
        """Where the cluster lies, as this process sees it; its parent belongs to it alone."""
        return Path(self.engine.outside(self.engine.data()))

    async def begin(self) -> None:
        """Make an empty cluster and start it."""
        await asyncio.to_thread(self.engine.begin)

    def on_a_small_disk(self, megabytes: int) -> bool:
        """Put the cluster to be made on a disk (in memory) of its own; False where that may not be mounted."""
        self.engine.provide()
        options = f"size={megabytes}m,mode=755"
        place = str(self.directory.parent)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    @property
    def running(self) -> bool:
        return bool(self.engine.running())

    @property
    def pid(self) -> int:
        """The number of the server's first process, which must be there."""
        return int(self.engine.pid())

    async def limit_files(self, size: str) -> None:
        """Let no process of the server write a file beyond ``size`` bytes, those it will start included."""

        def limit() -> None:
            first = self.engine.pid()
            pids = [first] if first is not None else []  # it has fallen
            for status in Path("/proc").glob("[0-9]*/stat"):
                with suppress(OSError):
                    if int(status.read_text().rpartition(")")[2].split()[1]) == first:
                        pids.append(int(status.parent.name))
            for pid in pids:
                # as the server's own user, who may do it without being root
                command = [*self.engine.prefix(), "prlimit", "--pid", str(pid), f"--fsize={size}:unlimited"]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0 or "No such process" in done.stderr, done.stderr

        await asyncio.to_thread(limit)

    async def follow(self, primary: "OwnServer") -> None:
        """Copy a running primary, and start as its standby that streams what it commits (asynchronously)."""

        def copy() -> None:
            self.engine.provide()
            source = f"host=127.0.0.1 port={primary.engine.port()} user={self._user}"
            backup = self.engine.program(
                "pg_basebackup", "-D", self.engine.data(), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"
            )
            self._run(backup, "pg_basebackup", **self._login)
            with (self.directory / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
                file.write(f"port = {self.engine.new_port()}\n")
                # the copy's own way to the primary, with the password that psql got from the environment
                conninfo = f"{source} password={self._login['PGPASSWORD']}"
                file.write(f"primary_conninfo = '{conninfo}'\n")
            self.engine.launch()

        await asyncio.to_thread(copy)

    async def halt(self, mode: str = "fast") -> None:
        await asyncio.to_thread(self.engine.halt, mode)

    async def launch(self) -> None:
        await asyncio.to_thread(self.engine.launch)

    async def promote(self) -> None:
        """Make a standby the primary."""
        command = self.engine.program("pg_ctl", "-D", self.engine.data(), "-s", "-w", "promote")
        await asyncio.to_thread(self._run, command, "pg_ctl promote")

    async def sql(self, *statements: str) -> None:
        for statement in statements:
            await asyncio.to_thread(self.engine.sql, statement)

    def end(self) -> None:
        with suppress(self.unavailable):
            self.engine.halt("immediate")
        if os.path.ismount(self.directory.parent):
            subprocess.run(["umount", "--lazy", self.directory.parent], check=True)
        shutil.rmtree(self.directory.parent, ignore_errors=True)
        self._port_file.unlink(missing_ok=True)


@asynccontextmanager
async def own_server(*, plain: bool = False, disk_mb: int | None = None, **settings: str) -> AsyncIterator[OwnServer]:
    """Lend a server that runs; skip the test where none can be had, or fail where databases are required.

    ``plain`` asks for PostgreSQL without TimescaleDB. With ``disk_mb`` the server lies on a disk of that size; where no
    disk may be mounted the test is skipped.
    """
    server = OwnServer(plain=plain, **settings)
    try:
        try:
            if disk_mb is not None and not server.on_a_small_disk(disk_mb):
                pytest.skip("no disk may be mounted here")
            await server.begin()
        except server.unavailable as problem:
            if os.environ.get("CRYPTO_QUANT_REQUIRE_DATABASES") == "1":
                pytest.fail(f"no server of our own: {problem}")
            pytest.skip(f"no server of our own: {problem}")
        yield server
    finally:
        await asyncio.to_thread(server.end)


@asynccontextmanager
async def standby_of(primary: OwnServer) -> AsyncIterator[OwnServer]:
    """Lend a standby of a running server."""
    server = OwnServer()
    try:
        await server.follow(primary)
        yield server
    finally:
        await asyncio.to_thread(server.end)
