"""Since when the database is away, and when that is worth another line: at once, then less and less often. Pure."""

_FIRST_SILENCE_S = 5.0
_LAST_SILENCE_S = 60.0


class Outage:
    """The time between a first failure and the next success; times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._told_s = 0.0
        self._silence_s = 0.0
        self._cause = ""

    @property
    def lasting(self) -> bool:
        """Whether the last that was heard of the database was a failure."""
        return self._since_s is not None

    @property
    def cause(self) -> str:
        """What the last failure that was told was; empty when none lasts."""
        return self._cause if self.lasting else ""

    def failed(self, now_s: float, cause: str) -> bool:
        """Note a failure; return whether to tell it.

        The first is told, then one after 5 s, 10 s, 20 s … up to one a minute. Another cause (a server that says why,
        where there was no server before) is told after 5 s at the earliest.
        """
        if self._since_s is None:
            self._since_s = now_s
            self._silence_s = _FIRST_SILENCE_S
        else:
            quiet_s = now_s - self._told_s
            if quiet_s < (_FIRST_SILENCE_S if cause != self._cause else self._silence_s):
                return False
            self._silence_s = min(self._silence_s * 2, _LAST_SILENCE_S)
        self._told_s = now_s
        self._cause = cause
        return True

    def over(self, now_s: float) -> float | None:
        """Note a success; return how long the outage has lasted, None when there was none."""
        since_s, self._since_s = self._since_s, None
        return None if since_s is None else now_s - since_s
