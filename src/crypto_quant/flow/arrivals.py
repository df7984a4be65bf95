"""The same trade over two links: a second arrival is redundancy at work, a repetition on one link is not."""

from array import array

# so many ids of a symbol lie at most between what two links tell; 8 kB a symbol
_REMEMBERED = 1024


class Arrivals:
    """The highest number that each link has told of each series, while more than one link tells of it.

    A number that was had before, but that *this* link has not told yet, came first over another link. What a link
    tells at or below its own highest is taken for its own repetition; out of order, the two cannot be told apart.
    """

    def __init__(self) -> None:
        self._highest: dict[tuple[int, object], int] = {}

    def first(self, link: int, series: object, number: int) -> bool:
        """Take a number in; return whether the link had not told it or a higher one of that series before."""
        key = (link, series)
        if number <= self._highest.get(key, -1):
            return False
        self._highest[key] = number
        return True


class Contents:
    """What the newest ids of one symbol were told with, as digests: so that a second arrival can be compared."""

    def __init__(self) -> None:
        self._digests = array("q", bytes(8 * _REMEMBERED))

    def told(self, number: int, content: tuple[object, ...]) -> bool:
        """Note what an id comes with; return whether that is what it came with last.

        False also when it is too long ago to be remembered.
        """
        place = number % _REMEMBERED
        same = hash((number, content))
        digests = self._digests
        if digests[place] == same:
            return True
        digests[place] = same
        return False
