"""Files of the public archive on the local disk: fetched, resumed, verified, read in pieces."""

import asyncio
import errno
import hashlib
import random
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from crypto_quant import events
from crypto_quant.binance.archive import ArchiveFile, TradeLines, TradeReader, parse_checksum
from crypto_quant.continuity import Gap
from crypto_quant.errors import (
    ArchiveDamaged,
    CryptoQuantError,
    ExchangeUnavailable,
    RequestRefused,
    RetryableError,
    Throttled,
    UndecodableFrame,
)
from crypto_quant.flow.turns import FileTurns
from crypto_quant.seams import Emit, Http, HttpAnswer

Piece = TypeVar("Piece")

_TRIES = 6
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 15.0
_THROTTLED_S = 30.0
_HASH_CHUNK = 1024 * 1024
# of uncompressed text: some 50,000 rows
_PIECE = 4 * 1024 * 1024
# what is asked of the zip at once: of more it would copy what it has read ahead again and again
_UNZIPPED_AT_ONCE = 256 * 1024
_NO_FILE = (403, 404)  # a bucket that may not be listed says 403 for what it does not have


class ArchiveShelf:
    """Keeps files of the archive in a directory; what is there and verified is not fetched again.

    ``accepted`` are names of files that are used though they do not match their checksum, told each time.
    """

    def __init__(
        self,
        base_url: str,
        http: Http,
        directory: Path,
        emit: Emit,
        rng: random.Random,
        accepted: Collection[str] = (),
    ) -> None:
        self._base_url = base_url
        self._http = http
        self._directory = directory
        self._emit = emit
        self._rng = rng
        self._accepted = accepted
        self._fetching: dict[str, asyncio.Lock] = {}
        self._turns = FileTurns(directory)

    async def fetch(self, file: ArchiveFile) -> Path | None:
        """Return the verified file on disk, None when the archive has none of that name.

        A download that was cut goes on where it stopped, also in another run. A file that does not match its
        CHECKSUM is fetched once more. Raises ExchangeUnavailable (the archive does not answer), ArchiveDamaged (the
        checksum is wrong twice), CryptoQuantError (the disk refuses).
        """
        # two that want one file must not write it at once; the second finds it there
        lock = self._fetching.setdefault(file.path, asyncio.Lock())
        try:
            async with lock:
                return await self._fetch(file)
        except OSError as problem:
            raise self._unwritable(problem, file) from problem

    @asynccontextmanager
    async def hold(self, file: ArchiveFile, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Keep other processes away from the files of this month and series; ``waiting`` says that one has them.

        Raises CryptoQuantError when the directory cannot be written.
        """
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._turns.hold(file, waiting))
            except OSError as problem:
                raise self._unwritable(problem, file) from problem
            yield

    def _unwritable(self, problem: OSError, file: ArchiveFile) -> CryptoQuantError:
        hint = "Make room, or set CRYPTO_QUANT_DATA_DIR to another disk"
        if not isinstance(problem, FileNotFoundError) and problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            hint = "Give the right to write there, or set CRYPTO_QUANT_DATA_DIR to another directory"
        return CryptoQuantError(
            f"cannot keep a file of the archive ({problem.strerror or problem})",
            subject=str(self._directory / file.name),
            hint=hint,
        )

    async def _fetch(self, file: ArchiveFile) -> Path | None:
        self._directory.mkdir(parents=True, exist_ok=True)
        url = f"{self._base_url}{file.path}"
        # venues share names
        done = self._directory / f"{file.venue.value}-{file.name}"
        part = done.with_suffix(".part")
        for attempt in (1, 2):
            answer = await self._insist(f"{file.name}.CHECKSUM", lambda: self._http.get(f"{url}.CHECKSUM", {}, {}))
            if answer.status in _NO_FILE:
                return None
            try:
                told = parse_checksum(answer.body, file.name)
            except UndecodableFrame as problem:
                raise ArchiveDamaged(problem.what, subject=problem.subject) from problem
            if done.exists() and await asyncio.to_thread(_sha256, done) == told:
                return done
            answer = await self._insist(file.name, lambda: self._http.download(url, part))
            if answer.status in _NO_FILE:
                return None
            found = await asyncio.to_thread(_sha256, part)
            if found == told:
                part.replace(done)
                return done
            if attempt == 2 and file.name in self._accepted:
                part.replace(done)
                flaw = f"SHA-256 is {found}, CHECKSUM says {told}; used because it was accepted by name"
                self._emit(events.ArchiveFlaw(file=file.name, flaw=flaw))
                return done
            part.unlink(missing_ok=True)
            if attempt == 1:
                flaw = f"SHA-256 is {found[:12]}…, CHECKSUM says {told[:12]}…; fetched again"
                self._emit(events.ArchiveFlaw(file=file.name, flaw=flaw))
        raise ArchiveDamaged(
            "a file of the archive does not match its checksum, twice",
            subject=file.name,
            hint="Its days are sought elsewhere. It may be being replaced right now: try again later. "
            f"If it stays so, `--accept {file.name}` uses it as it is",
        )

    def drop(self, path: Path) -> None:
        """Forget a file that has been stored."""
        path.unlink(missing_ok=True)

    async def _insist(self, what: str, ask: Callable[[], Awaitable[HttpAnswer]]) -> HttpAnswer:
        """Return an answer that settles the matter; ask again while it is worth it."""
        delay_s = _FIRST_RETRY_S
        for attempt in range(1, _TRIES + 1):
            try:
                answer = await ask()
                if answer.status in (200, 206, 416, *_NO_FILE):
                    # 416: there is nothing beyond what is there already
                    return answer
                _refuse(answer, what)
            except RetryableError as problem:
                pause_s = self._rng.uniform(delay_s / 2, delay_s)
                if isinstance(problem, Throttled):
                    pause_s = problem.retry_after_s
                last = attempt == _TRIES
                self._emit(
                    events.RestFailed(request=what, cause=str(problem), retry_in_s=None if last else round(pause_s, 3))
                )
                if last:
                    raise
                await asyncio.sleep(pause_s)
                delay_s = min(delay_s * 2, _LAST_RETRY_S)
        raise ExchangeUnavailable("never asked", subject=what)

    def pick(self, file: ArchiveFile, path: Path, gap: Gap) -> TradeLines:
        """Return the rows of a file whose ids are in ``gap``, rising, each id once. Blocks: call it in a thread."""
        found: dict[int, bytes] = {}
        for lines, _ in read_trades(file, path):
            for number, row in zip(lines.ids, lines.rows, strict=True):
                if gap.first <= number <= gap.last:
                    found.setdefault(number, row)
        ids = sorted(found)
        return TradeLines(ids, [found[number] for number in ids])


def _refuse(answer: HttpAnswer, what: str) -> None:
    subject = f"{what}: HTTP {answer.status}"
    if answer.status in (429, 418):
        text = answer.headers.get("retry-after", "")
        pause_s = float(text) if text.isascii() and text.isdigit() and len(text) < 6 else _THROTTLED_S
        raise Throttled("the archive asks for a pause", retry_after_s=pause_s, subject=subject)
    if answer.status >= 500:
        raise ExchangeUnavailable("the archive did not answer the request", subject=subject)
    raise RequestRefused("the archive refused the request", status=answer.status, code=0, subject=subject)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASH_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def read_pieces(file: ArchiveFile, path: Path, size: int = _PIECE) -> Iterator[tuple[bytes, float]]:
    """Yield the CSV of a zip in pieces of whole lines, each with the share of the file that is read by then.

    Blocks. Raises ArchiveDamaged when it is no zip of one CSV, or a broken one.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            members = [each for each in packed.infolist() if not each.is_dir()]
            if len(members) != 1:
                raise ArchiveDamaged("a zip of one file was expected", subject=f"{file.name}: {len(members)} files")
            whole = max(1, members[0].file_size)
            read = 0
            held: list[bytes] = []
            with packed.open(members[0]) as text:
                while some := text.read(min(size, _UNZIPPED_AT_ONCE)):
                    read += len(some)
                    end = some.rfind(b"\n") + 1
                    if end and sum(map(len, held)) + end >= size:
                        yield b"".join([*held, some[:end]]), min(1.0, read / whole)
                        held = [some[end:]]
                    else:
                        held.append(some)
            if rest := b"".join(held):
                yield rest, 1.0
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as problem:
        # the last two: a method of compression or an encryption that nobody expects there
        raise ArchiveDamaged("not a readable zip", subject=f"{file.name} ({problem})") from problem


def read_trades(file: ArchiveFile, path: Path) -> Iterator[tuple[TradeLines, float]]:
    """Yield the trades of a file, each piece sorted by id, with the share of the file that is read by then.

    Blocks. Raises ArchiveDamaged.
    """
    reader = TradeReader(file.venue, file.symbol)
    for piece, share in read_pieces(file, path):
        try:
            yield reader.read(piece), share
        except UndecodableFrame as problem:
            raise ArchiveDamaged(problem.what, subject=f"{file.name}: {problem.subject}") from problem


async def ahead(pieces: Iterator[Piece]) -> AsyncIterator[Piece]:
    """Yield from a blocking iterator, which works on the next piece in a thread while this one is being used."""
    following = asyncio.create_task(asyncio.to_thread(next, pieces, None))
    try:
        while (piece := await following) is not None:
            following = asyncio.create_task(asyncio.to_thread(next, pieces, None))
            yield piece
    finally:
        # a thread cannot be stopped; its piece is not wanted any more, and neither is its error
        await asyncio.wait({following})
        if not following.cancelled():
            following.exception()
