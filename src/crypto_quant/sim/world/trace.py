"""What happened in a world: a digest of all of it, and the lines themselves when somebody wants to read them."""

import hashlib
from collections.abc import Callable

from crypto_quant.sim.world.loop import VirtualLoop


class Trace:
    """Takes lines; two runs of one seed give one ``digest``.

    The last ``keep`` lines are kept for the report of a failure; ``tell`` gets every line as it comes.
    """

    def __init__(self, loop: VirtualLoop, tell: Callable[[str], None] | None = None) -> None:
        self._loop = loop
        self._tell = tell
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines = 0

    def __call__(self, who: str, what: object) -> None:
        """Note that something happened now."""
        line = f"{self._loop.time() - 1000:12.6f} {who:10} {what}"
        self._hash.update(line.encode())
        self.lines += 1
        if self._tell is not None:
            self._tell(line)

    @property
    def digest(self) -> str:
        """The digest of every line so far."""
        return self._hash.hexdigest()
