"""Which connection owns a slot (one set of streams that must always be carried), and when the old one may go.

Make before break: an owner that must go stays until its heir has proved itself, and an heir that fails leaves the
owner where it is. Pure: connections are numbers, counted by ``opened``.
"""


class Handover:
    """One slot: its ``owner``, and the ``heir`` that is to take its place; None where there is none."""

    __slots__ = ("_count", "_heir_leaving", "_leaving", "heir", "owner")

    def __init__(self) -> None:
        self.owner: int | None = None
        self.heir: int | None = None
        self._leaving = self._heir_leaving = False
        self._count = 0

    @property
    def wanted(self) -> bool:
        """Whether a connection should be opened: there is none, or the owner must go and has no heir."""
        return self.heir is None and (self.owner is None or self._leaving)

    @property
    def rolling(self) -> bool:
        """Whether there is an owner that must go, so that the next connection comes beside it."""
        return self.owner is not None and self._leaving

    def opened(self) -> int:
        """Count a connection that has opened and return its number; raise ValueError when none is wanted."""
        if not self.wanted:
            raise ValueError("a slot takes a connection only when it wants one")
        self._count += 1
        if self.owner is None:
            self.owner = self._count
            self._leaving = False
        else:
            self.heir = self._count
            self._heir_leaving = False
        return self._count

    def must_go(self, number: int) -> None:
        """A connection is to be replaced; it goes on until it has been, or ends."""
        if number == self.owner:
            self._leaving = True
        elif number == self.heir:
            self._heir_leaving = True

    def proven(self, number: int) -> int | None:
        """The connection delivers: an heir becomes the owner, and the old owner, which may go now, is returned."""
        if number != self.heir:
            return None
        old = self.owner
        self._inherit()
        return old

    def ended(self, number: int) -> None:
        """A connection is no more. Without its owner the slot belongs to the heir, proven or not."""
        if number == self.heir:
            self.heir = None
        elif number == self.owner:
            self._inherit()

    def _inherit(self) -> None:
        self.owner, self.heir = self.heir, None
        self._leaving, self._heir_leaving = self._heir_leaving, False
