"""The database server's own disk is full: it refuses or falls; the recorder spools, says so, goes on afterwards."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from own_servers import OwnServer, own_server
from programs import assert_nothing_lost, market, program


@contextmanager
def filled(directory: Path) -> Iterator[None]:
    """Leave no room on the disk of a directory for the length of the block."""
    ballast = directory / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as problem:
                    if problem.errno != errno.ENOSPC:
                        raise
        yield
    finally:
        ballast.unlink()


async def test_the_servers_disk_is_full(tmp_path: Path) -> None:
    small = {"min_wal_size": "32MB", "max_wal_size": "32MB"}
    async with (
        own_server(disk_mb=200, **small) as server,
        market(1500) as exchange,
        program(server.url, exchange, tmp_path) as run,
    ):
        with filled(server.directory.parent):
            await run.until(lambda: run.stats["spooled_rows"] > 1500)
            causes = [line["cause"] for line in run.of("Store unavailable")]
            assert any("The server's disk is full: free some space" in cause for cause in causes), causes
            assert os.statvfs(server.directory.parent).f_bavail == 0
        await goes_on(server)
        await run.until(lambda: run.of("Spool replayed"))
        await assert_nothing_lost(server.url, exchange, run, tmp_path)


async def test_a_server_that_falls_because_it_cannot_write(tmp_path: Path) -> None:
    """The limit on the size of a file stands for the full disk: the log of the server itself takes no more."""
    async with (
        own_server() as server,
        market(1500) as exchange,
        program(server.url, exchange, tmp_path) as run,
    ):
        await server.limit_files("100000")
        await run.until(lambda: run.stats["spooled_rows"] > 1500)
        assert run.of("Store unavailable")
        await server.limit_files("unlimited")
        await goes_on(server)
        await run.until(lambda: run.of("Spool replayed"))
        await assert_nothing_lost(server.url, exchange, run, tmp_path)


async def goes_on(server: OwnServer) -> None:
    """Start a server again that has fallen for want of room."""
    if not server.running:
        await server.launch()
