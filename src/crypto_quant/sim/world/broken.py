"""The verdict that ends a world."""


class Broken(AssertionError):
    """An invariant does not hold."""
