"""Planted bugs: noted by name, each with the seed of the world that found it last."""

from collections.abc import Callable

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]


class PlantedBugs(dict[str, tuple[Plant, int]]):
    """The bugs of one list, by name: how to plant each, and the seed that found it last."""

    def bug(self, finder: int) -> Callable[[Plant], Plant]:
        """Note a planted bug; ``finder`` is the seed that found it last, which is tried first."""

        def note(plant: Plant) -> Plant:
            self[plant.__name__] = plant, finder
            return plant

        return note
