"""The browser that tests look at pages with: the system's own Chromium."""

import os
import shutil

import pytest


def chromium() -> str:
    """Return the program; skip the test where there is none, or fail it with CRYPTO_QUANT_REQUIRE_BROWSER=1."""
    found = shutil.which("chromium")
    if found is None:
        reason = "no browser: the package chromium is not installed"
        if os.environ.get("CRYPTO_QUANT_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
