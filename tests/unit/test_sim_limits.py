from crypto_quant.sim.limits import Limits, RateWindow, WeightMeter


def test_the_defaults_are_the_exchange_s() -> None:
    limits = Limits()
    assert (limits.ping_interval_s, limits.pong_deadline_s, limits.life_s) == (20, 60, 86_400)
    assert (limits.messages_per_s, limits.streams_per_link) == (5, 1024)
    assert (limits.connects, limits.connects_window_s) == (300, 300)
    assert limits.weight_per_minute == 6000


def test_a_window_slides() -> None:
    window = RateWindow(2, 1.0)
    assert [window.allow(second) for second in (10.0, 10.5, 10.9)] == [True, True, False]
    assert round(window.retry_after_s(10.9), 6) == 0.1
    assert window.allow(11.0)
    assert not window.allow(11.4)
    assert window.allow(11.5)


def test_weight_is_counted_by_the_minute() -> None:
    meter = WeightMeter(Limits(weight_per_minute=10))
    assert [(verdict.status, verdict.used) for verdict in (meter.spend(4, 0), meter.spend(6, 30))] == [
        (200, 4),
        (200, 10),
    ]
    refused = meter.spend(1, 50.5)
    assert (refused.status, refused.retry_after_s) == (429, 10)
    assert (meter.spend(4, 60).status, meter.spend(1, 61).used) == (200, 5)


def test_who_ignores_429_is_banned_longer_and_longer() -> None:
    meter = WeightMeter(Limits(weight_per_minute=1, ban_after=2, ban_s=120))
    assert [meter.spend(1, second).status for second in (0, 1, 2, 3)] == [200, 429, 429, 418]
    # the ban outlives the minute
    assert (meter.spend(1, 70).status, meter.spend(1, 70).retry_after_s) == (418, 54)
    assert meter.spend(1, 130).status == 200
    assert [meter.spend(1, second).status for second in (131, 132, 133)] == [429, 429, 418]
    assert meter.spend(1, 300).status == 418
    assert meter.spend(1, 380).status == 200
