"""Recording over TLS: a certificate that is right, one of each kind that is wrong, and one that goes bad meanwhile."""

import asyncio
import datetime as dt
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from programs import SYMBOLS, assert_nothing_lost, cut, market, program

from crypto_quant.sim.server import SimulatedExchange


class Front:
    """TLS in front of the exchange: ``show`` changes the certificate for whoever connects from then on."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.port = 0
        self.ends: list[asyncio.StreamWriter] = []

    def show(self, certificate: trustme.LeafCert) -> None:
        certificate.configure_cert(self.context)

    def drop(self) -> None:
        """Cut every connection there is."""
        for end in self.ends:
            end.transport.abort()
        self.ends.clear()

    @property
    def urls(self) -> tuple[str, str]:
        return f"wss://localhost:{self.port}", f"https://localhost:{self.port}"


@asynccontextmanager
async def front(exchange: SimulatedExchange, directory: Path) -> AsyncIterator[Front]:
    made = Front(directory)
    made.show(made.ca.issue_cert("localhost"))
    async with cut(int(exchange.ws_url.rpartition(":")[2]), ssl=made.context) as (made.port, made.ends):
        yield made


def bad(made: Front, what: str) -> trustme.LeafCert:
    """Return a certificate that must be refused."""
    if what == "untrusted":
        return trustme.CA().issue_cert("localhost")
    if what == "wrong host":
        return made.ca.issue_cert("elsewhere.test")
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    return made.ca.issue_cert("localhost", not_after=yesterday)


KINDS = {
    "untrusted": ("unable to get local issuer certificate", "SSL_CERT_FILE"),
    "expired": ("certificate has expired", "this machine's clock"),
    "wrong host": ("Hostname mismatch", "Check the URL"),
}


async def test_a_certificate_that_goes_bad_and_is_mended_loses_nothing(timescale_url: str, tmp_path: Path) -> None:
    """Exact over wss and https; while the certificate is bad nothing goes through, and what was missed is filled."""
    async with market(1500) as exchange, front(exchange, tmp_path) as made:
        trust = {"SSL_CERT_FILE": str(made.ca_file)}
        async with program(timescale_url, made.urls, tmp_path, environment=trust) as run:
            cause, remedy = KINDS["expired"]
            made.show(bad(made, "expired"))
            made.drop()
            await run.until(lambda: any(cause in line["cause"] for line in run.of("Reconnect scheduled")))
            assert any(remedy in line["cause"] for line in run.of("Reconnect scheduled"))
            made.show(made.ca.issue_cert("localhost"))
            await run.until(lambda: len(run.of("Subscribed")) > 1)
            final = await assert_nothing_lost(timescale_url, exchange, run, tmp_path)
        assert final["trades_backfilled"] > 0


@pytest.mark.parametrize("what", KINDS)
async def test_a_bad_certificate_at_the_start_is_named_with_the_remedy(
    timescale_url: str, tmp_path: Path, what: str
) -> None:
    async with market(500) as exchange, front(exchange, tmp_path) as made:
        made.show(bad(made, what))
        done = await asyncio.to_thread(
            subprocess.run,
            [
                sys.executable, "-m", "crypto_quant", "record", *SYMBOLS, "--database-url", timescale_url,
                "--ws-url", made.urls[0],
            ],
            env={**os.environ, "SSL_CERT_FILE": str(made.ca_file), "CRYPTO_QUANT_DATA_DIR": str(tmp_path)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        for words in KINDS[what]:
            assert words in last, last
        assert exchange.market.printed == 0  # nobody got through
