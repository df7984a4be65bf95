"""``connect``: the way into the record for research."""

import importlib.util
import os
from typing import TYPE_CHECKING

from crypto_quant import commands
from crypto_quant.config import load
from crypto_quant.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from crypto_quant.reading.database import Database


def connect(url: str | None = None) -> "Database":
    """Return the record at ``url``, to be read as tables; see ``Database``.

    Without a URL it is the database that ``record`` would use here: that of the environment, of ``crypto-quant.toml``
    in the working directory, else the embedded one, which is started if it is not running. Nothing is asked of a
    database before the first call. Raises ConfigError (a URL that is none, or nothing was ever recorded here),
    EmbeddedDatabaseError, and MissingExtra when pyarrow is not installed.
    """
    for library in ("pyarrow", "numpy"):
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(
                f"reading needs {library}, which is not installed",
                hint=f"Install it with: {commands.install('arrow')}",
            )
    # heavy, and in vain where the libraries are missing
    from crypto_quant.reading.database import Database  # noqa: PLC0415
    from crypto_quant.store.url import checked_url  # noqa: PLC0415

    return Database(checked_url(url) if url is not None else _usual_url())


def _usual_url() -> str:
    settings = load({}, os.environ)
    if settings.database_url is not None:
        return settings.database_url
    from crypto_quant.store.embedded import EmbeddedDatabase  # noqa: PLC0415  # heavy, and only needed here
    from crypto_quant.store.paths import data_dir  # noqa: PLC0415

    embedded = EmbeddedDatabase(data_dir(settings))
    if not embedded.exists():
        raise ConfigError(
            "nothing was ever recorded here: there is no embedded database",
            subject=str(embedded.directory),
            hint="Record first: crypto-quant record SYMBOL; or name a database: connect('postgresql://…')",
        )
    return embedded.start()
