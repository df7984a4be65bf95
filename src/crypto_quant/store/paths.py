"""Where data live when nobody says otherwise."""

import os
from pathlib import Path

import platformdirs

DATA_DIR_VARIABLE = "CRYPTO_QUANT_DATA_DIR"


def data_directory() -> Path:
    """Return the directory of the local database and of everything else that is kept; it need not exist yet.

    ``CRYPTO_QUANT_DATA_DIR``, else the user's data directory; for root ``/var/lib/crypto-quant``, because the local
    server runs as another user, who cannot look below ``/root``.
    """
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/crypto-quant")
    return Path(platformdirs.user_data_dir("crypto-quant", appauthor=False))
