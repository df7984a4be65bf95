"""Where data live when nobody says otherwise."""

import os
from pathlib import Path

import platformdirs

from crypto_quant.config import Settings

DATA_DIR_VARIABLE = "CRYPTO_QUANT_DATA_DIR"


def data_directory() -> Path:
    """Return the directory of the embedded database and of everything else that is kept; it need not exist yet.

    ``CRYPTO_QUANT_DATA_DIR``, else the user's data directory; for root ``/var/lib/crypto-quant``, because the local
    server runs as another user, who cannot look below ``/root``.
    """
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else usual_directory()


def usual_directory() -> Path:
    """Return what ``data_directory`` is where no variable says otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/crypto-quant")
    return Path(platformdirs.user_data_dir("crypto-quant", appauthor=False))


def data_dir(settings: Settings) -> Path:
    """Return the directory of everything that is kept on disk beside the database."""
    return Path(settings.data_dir).expanduser() if settings.data_dir else data_directory()


def spool_dir(settings: Settings) -> Path:
    """Return the directory that holds the spools of all recorders with these settings."""
    return Path(settings.spool_dir).expanduser() if settings.spool_dir else data_dir(settings) / "spool"
