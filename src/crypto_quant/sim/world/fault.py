"""A misfortune of a world as a whole."""

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """It happens at ``at_s`` (from the start of the world), for ``for_s`` seconds; ``amount`` is between 0 and 1."""

    at_s: float
    kind: str
    for_s: float = 0.0
    amount: float = 0.0
