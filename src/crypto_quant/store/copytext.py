"""The text of a COPY in pieces, so that the server reads the first rows while the last ones are still on their way."""

from collections.abc import AsyncIterator, Sequence

# What fits a socket's buffer is taken at once, and each piece costs a turn of the event loop.
_PIECE_BYTES = 64 * 1024


class CopyText:
    """The text of a batch; may be gone through again and again. In one message the server would wait for all of it."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        piece: list[bytes] = []
        size = 0
        for part in self._parts:
            piece.append(part)
            size += len(part)
            if size >= _PIECE_BYTES:
                yield b"".join(piece)
                piece.clear()
                size = 0
        if piece:
            yield b"".join(piece)
