"""Files that say something once: written whole or not at all, and never over another by accident."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crypto_quant.errors import ConfigError


def write_statement(file: Path, document: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write the document as JSON, on disk when this returns. Raises ConfigError when it cannot, or ``file`` exists."""
    write_text(file, json.dumps(document, indent=1, ensure_ascii=False) + "\n", what="certificate", overwrite=overwrite)


def write_text(file: Path, text: str, *, what: str, overwrite: bool) -> None:
    """Write a file of UTF-8 text, on disk when this returns; ``what`` names it in errors.

    A link is followed. Raises ConfigError when it cannot, ``file`` exists, or is a device or a pipe; what was there is
    whole then.
    """
    try:
        target = file.resolve()
        if overwrite and target.exists() and not target.is_file():
            raise ConfigError(f"cannot write the {what}", subject=str(file), hint="It is no file. Give another name")
        mode = target.stat().st_mode & 0o777 if overwrite and target.exists() else 0o644
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            Path(name).chmod(mode)
            if overwrite:
                os.replace(name, target)  # noqa: PTH105 - the same call, and its pair is below
            else:
                os.link(name, target)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError as problem:
        raise ConfigError("the file exists", subject=str(file), hint="Give another name, or --force") from problem
    except (OSError, RuntimeError) as problem:  # a link that leads to itself
        raise ConfigError(f"cannot write the {what}", subject=str(file), hint=str(problem)) from problem
