"""The settings of the embedded server, as the text of its configuration file."""

import os
from pathlib import Path


def configuration(socket_directory: Path, port: int, log: Path, *, timescaledb: bool) -> str:
    """Return the configuration: reachable through the socket alone, and nothing traded away for speed.

    ``fsync`` and ``synchronous_commit`` stay on: what was reported as stored survives a power cut.
    """
    settings = {
        "listen_addresses": "''",
        "port": str(port),
        "unix_socket_directories": _text(_list_item(str(socket_directory))),
        "unix_socket_permissions": "0700",
        "timezone": "'UTC'",
        "log_timezone": "'UTC'",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "max_connections": "60",
        # a question without a time locks every day of the record and each of its indexes: nine years, four at once
        "max_locks_per_transaction": "1024",
        "shared_buffers": f"{_shared_buffers_mb()}MB",
        "max_wal_size": "'2GB'",
        "wal_compression": "on",
        # a week of logs, each day over the one of a week ago
        "logging_collector": "on",
        "log_directory": _text(str(log)),
        "log_filename": "'server-%a.log'",
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "'1d'",
        "log_rotation_size": "0",
    }
    if timescaledb:
        settings |= {"shared_preload_libraries": "'timescaledb'", "timescaledb.telemetry_level": "off"}
    head = "# Written by crypto-quant at every start. Put your own settings at the end of postgresql.conf.\n"
    return head + "".join(f"{name} = {value}\n" for name, value in settings.items())


def _text(value: str) -> str:
    doubled = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"


def _list_item(path: str) -> str:
    # A comma or a space would end an item of the list.
    return f'"{path}"' if "," in path or " " in path else path


def _shared_buffers_mb() -> int:
    """An eighth of the machine's memory, between 32 and 256 MB."""
    try:
        megabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    except (ValueError, OSError):  # a system that does not tell
        return 128
    return max(32, min(256, megabytes // 8))
