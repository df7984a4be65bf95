#!/usr/bin/env python3
"""Record BTCUSDT aggregate trades into TimescaleDB/PostgreSQL: the smallest whole pipeline.

Without ``--database-url`` the embedded database is used. ``CRYPTO_QUANT_WS_URL`` and ``CRYPTO_QUANT_REST_URL`` point
it at another server that speaks Binance's protocol, such as ``crypto-quant simulate``.
"""

import argparse
import os
import sys

from crypto_quant.cli.record import run
from crypto_quant.config import load
from crypto_quant.errors import CryptoQuantError


def main() -> int:
    """Run the pipeline; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--database-url", help="PostgreSQL or TimescaleDB URL (default: the embedded database)")
    parser.add_argument("--batch-size", type=int, default=1000, help="rows that make a batch full (default: 1000)")
    parser.add_argument("--duration", type=float, help="seconds to record (default: until interrupted)")
    parser.add_argument("--log-level", default="INFO", help="DEBUG, INFO, WARNING or ERROR (default: INFO)")
    flags = vars(parser.parse_args())
    try:
        return run(load({**flags, "symbols": ["btcusdt"], "streams": ["aggTrade"]}, os.environ))
    except CryptoQuantError as problem:
        sys.stderr.write(f"demo_pipeline: {problem}\n")
        return problem.exit_code


if __name__ == "__main__":
    sys.exit(main())
