"""What keeps a record provable: seals and counts, on connections of their own, beside whoever records or loads."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import date

from crypto_quant import events
from crypto_quant.errors import CryptoQuantError
from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Progress
from crypto_quant.flow.record_check import RecordCheck
from crypto_quant.flow.seal_check import SealCheck
from crypto_quant.flow.sealing import SHARE, Sealed, Sealer
from crypto_quant.market import day_of
from crypto_quant.store.audit_queries import AuditReader, open_reader
from crypto_quant.store.seal_store import SealStore, open_seals


@asynccontextmanager
async def open_audit(url: str, scope: Scope, *, deep: bool) -> AsyncIterator[tuple[AuditReader, SealCheck | None]]:
    """Lend what an audit reads from; a deep one checks the seals over two connections where it can have them.

    Raises ConfigError, StoreUnavailable, StoreDenied.
    """
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(open_reader(url))
        keepers = [SealStore(reader.connection)]
        if deep:
            with suppress(CryptoQuantError):  # a second connection makes it faster, and nothing else
                keepers.append(await stack.enter_async_context(open_seals(url)))
        yield reader, SealCheck(reader, keepers, scope) if deep else None


async def seal(
    url: str, scope: Scope, first: date | None = None, last: date | None = None, *, progress: Progress | None = None
) -> Sealed:
    """Seal what is claimed of these days (inclusive, UTC; None: as far as the record goes), whatever is still open.

    Raises ConfigError, StoreUnavailable, StoreDenied.
    """
    async with open_reader(url) as reader:
        extent = await reader.extent(scope)
        if extent is None:
            return Sealed()
        sealer = Sealer(reader, SealStore(reader.connection), scope, progress=progress)
        done = await sealer.run(first or day_of(extent.start), last or day_of(extent.end - 1))
        return done if done.busy else await sealer.seal_claims()


class RecordUpkeep:
    """A ``seams.Housekeeper`` and a ``seams.Closer`` for one recorder: counts its days, and seals its closed hours."""

    # at once: what was changed while nobody recorded is reported before more comes
    first_s = 5.0

    def __init__(self, url: str, venue: str, symbols: Sequence[str]) -> None:
        self._url = url
        self._scope = Scope(venue, tuple(symbols))
        self._check = RecordCheck(self._scope)

    async def keep(self, now_ns: int) -> list[events.Event]:
        """Count the rows against the claims, then seal the hours that are over. Raises the store's errors."""
        async with open_reader(self._url) as reader:
            differences = await self._check.run(reader, now_ns)
            sealer = Sealer(reader, SealStore(reader.connection), self._scope, share=SHARE)
            since = await sealer.since()
            done = Sealed() if since is None else await sealer.run(since, day_of(now_ns), closed_ns=now_ns)
        return [*differences, *_events(done)]

    async def close(self, now_ns: int) -> list[events.Event]:
        """Seal what came since the last hour. Raises the store's errors."""
        async with open_reader(self._url) as reader:
            sealer = Sealer(reader, SealStore(reader.connection), self._scope)
            since, extent = await sealer.since(), await reader.extent(self._scope)
            if since is None or extent is None:
                return []
            return _events(await sealer.run(since, day_of(extent.end - 1)))


def _events(done: Sealed) -> list[events.Event]:
    found: list[events.Event] = []
    if done.seals:
        found.append(events.RecordSealed(seals=done.seals, rows=done.rows, replaced=done.replaced))
    for each in done.refused:
        venue, symbol, stream = each.key
        found.append(
            events.SealRefused(
                venue=venue,
                symbol=symbol,
                stream=stream,
                first=each.first,
                last=each.last,
                claimed=each.claimed,
                stored=each.stored,
            )
        )
    return found
