"""``crypto-quant`` as the program that it is: exit codes, stdout for results, stderr for the rest."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Done(NamedTuple):
    """What a program has said."""

    code: int
    out: str
    err: str


async def program(
    url: str, directory: Path, *words: str, stdin: str = "", environment: Mapping[str, str] | None = None
) -> Done:
    """Run crypto-quant in ``directory`` on the database at ``url``; it may take a minute."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("CRYPTO_QUANT_")}
    variables |= {"CRYPTO_QUANT_DATABASE_URL": url, "CRYPTO_QUANT_DATA_DIR": str(directory), "COLUMNS": "80"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crypto_quant", *words, env={**variables, **(environment or {})}, cwd=directory,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
    return Done(process.returncode or 0, out.decode(), err.decode())
