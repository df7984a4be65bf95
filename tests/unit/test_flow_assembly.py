"""What a recorder begins with, before the first frame."""

from flow_doubles import Journal
from spool_doubles import ForgetfulDisk, ForgetfulFiles

from crypto_quant.continuity import Gap, Sequencer, Verdict
from crypto_quant.flow.assembly import with_spooled
from crypto_quant.flow.intake import Known
from crypto_quant.flow.spool import Spool
from crypto_quant.market import Venue
from crypto_quant.seams import Covered, Source, Table
from crypto_quant.spoolformat import SpoolRecord


async def test_ids_that_wait_in_the_spool_are_no_gap() -> None:
    spool = Spool(ForgetfulFiles(ForgetfulDisk()), limit_bytes=10_000, emit=Journal())
    for symbol, first, last in (("btcusdt", 101, 150), ("btcusdt", 155, 160), ("ethusdt", 7, 9), ("dogeusdt", 1, 2)):
        covered = (Covered("spot", symbol, first, last, Source.STREAM),)
        await spool.put(SpoolRecord(Table.TRADES, [b"row\n"], covered))
    known = with_spooled({"btcusdt": Known([(1, 100)], [(151, 152)])}, spool, Venue.SPOT, ["btcusdt", "ethusdt"])
    assert known["ethusdt"] == Known([(7, 9)])
    sequencer = Sequencer()
    sequencer.resume(*known["btcusdt"])
    assert sequencer.gaps == [Gap(153, 154)]
    assert sequencer.observe(161) is Verdict.NEW
    elsewhere = with_spooled({}, spool, Venue.USDM, ["btcusdt"])
    assert elsewhere == {"btcusdt": Known([])}
