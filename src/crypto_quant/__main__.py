"""``python -m crypto_quant`` is ``crypto-quant``."""

from crypto_quant.cli import main

if __name__ == "__main__":
    main()
