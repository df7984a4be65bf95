"""An outage is told at once, and then less and less often."""

from crypto_quant.flow.outage import Outage


def test_a_long_outage_of_one_cause_is_a_handful_of_lines() -> None:
    outage = Outage()
    assert not outage.lasting
    told = [second for second in range(601) if outage.failed(second, "refused")]
    assert told == [0, 5, 15, 35, 75, 135, 195, 255, 315, 375, 435, 495, 555]
    assert outage.lasting
    assert outage.over(601.5) == 601.5
    assert outage.over(602) is None


def test_another_cause_is_told_sooner_but_is_no_flood() -> None:
    outage = Outage()
    assert outage.failed(0, "refused")
    assert not outage.failed(1, "starting up")
    assert outage.failed(5, "starting up")
    assert not outage.failed(6, "refused")
    assert not outage.failed(9.9, "starting up")


def test_each_outage_is_told_at_once() -> None:
    outage = Outage()
    assert outage.failed(0, "refused")
    outage.over(1)
    assert outage.failed(2, "refused")
