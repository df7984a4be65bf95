"""What a format is: which files it makes of a series, under which names, and who writes them."""

from collections.abc import Mapping
from datetime import date
from typing import ClassVar, Protocol

import pyarrow as pa

from crypto_quant.errors import ConfigError
from crypto_quant.lake.disk import Draft
from crypto_quant.lake.pairs import Pair
from crypto_quant.manifest import NAME, Series
from crypto_quant.market import wire_symbol


class Writer(Protocol):
    """Takes the record batches of one file, in order; schemas as ``reading.decode`` has them."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Write some more rows."""
        ...

    def finish(self) -> None:
        """Write what is left; the file is whole then."""
        ...


class Form:
    """A format of export. ``kinds`` are what it can hold; ``whole``: one file for all days, and not one a day."""

    name: ClassVar[str]
    kinds: ClassVar[frozenset[str]] = frozenset({"trades", "candles"})
    whole: ClassVar[bool] = False
    # whether its files cannot be told apart once there are exact scales to be told: see ``settings``
    scaled: ClassVar[bool] = False
    # whether its names have base and quote asset apart: see ``with_pairs``
    paired: ClassVar[bool] = False

    def with_pairs(self, pairs: Mapping[str, Pair]) -> "Form":
        """Return this format for series of these symbols (as stored), whose assets are known."""
        del pairs
        return self

    def check(self, series: Series) -> None:
        """Raise ConfigError for a series that this format has no place for."""
        if series.kind not in self.kinds:
            kinds = " and ".join(sorted(self.kinds))
            raise ConfigError(f"{self.name} has no {series.kind}", subject=str(series), hint=f"It has {kinds}")

    def folder(self, series: Series) -> str:
        """Return the directory of a series' files and its manifest, from the one that was given; empty: that one."""
        raise NotImplementedError

    def manifest(self, series: Series) -> str:
        """Return the name of the manifest in that directory."""
        del series
        return NAME

    def file(self, series: Series, day: date, ends_ns: tuple[int, int]) -> str:
        """Return where a day's rows go, from that directory; ``ends_ns`` are the times of the first and the last."""
        raise NotImplementedError

    def writer(self, draft: Draft, series: Series, settings: Mapping[str, str]) -> Writer:
        """Return who writes a file; ``settings`` are those of the manifest."""
        raise NotImplementedError


def of_series(series: Series, form: str) -> str:
    """Return a manifest's name where several series share a directory."""
    return f"{series.venue}-{series.symbol}-{frame_name(series.timeframe)}.{form}.{NAME}"


def frame_name(timeframe: str | None) -> str:
    """Return ``trades``, or a timeframe so that ``1m`` and ``1M`` differ where capitals do not tell names apart."""
    return "trades" if timeframe is None else "1mo" if timeframe == "1M" else timeframe


def upper(series: Series) -> str:
    """Return the symbol as the exchange and most tools write it."""
    return wire_symbol(series.symbol)
