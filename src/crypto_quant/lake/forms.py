"""The formats by name."""

from crypto_quant.lake.form import Form
from crypto_quant.lake.freqtrade import Freqtrade
from crypto_quant.lake.hftbacktest import Hftbacktest
from crypto_quant.lake.lake import Csv, Parquet
from crypto_quant.lake.nautilus import Nautilus
from crypto_quant.lake.tardis import Tardis

FORMS: dict[str, Form] = {
    form.name: form for form in (Parquet(), Csv(), Freqtrade(), Tardis(), Hftbacktest(), Nautilus())
}
