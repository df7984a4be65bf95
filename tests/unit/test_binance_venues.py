"""What the venues are: the facts that a slip would turn into a ban or into silence."""

import pytest

from crypto_quant.binance.venues import StreamKind, venue_spec
from crypto_quant.market import Timeframe, Venue


@pytest.mark.parametrize("venue", Venue)
def test_every_venue_is_known_and_consistent(venue: Venue) -> None:
    spec = venue_spec(venue)
    assert spec.venue is venue
    assert spec.ws_url.startswith("wss://")
    assert spec.rest_url.startswith("https://")
    assert spec.stream_path.endswith("/stream")  # combined mode
    assert spec.stream_kinds == (StreamKind.AGG_TRADE, StreamKind.KLINE)
    assert 0 < spec.connects_reserve < spec.connects
    assert spec.life_s == 24 * 3600
    assert spec.streams_per_link == 1024
    limits = [limit for limit, _ in spec.klines_weights]
    assert limits == sorted(limits)


def test_spot_needs_no_key_and_speaks_microseconds() -> None:
    spec = venue_spec(Venue.SPOT)
    assert (spec.ws_url, spec.rest_url) == ("wss://data-stream.binance.vision", "https://data-api.binance.vision")
    assert (spec.stream_path, spec.rest_prefix) == ("/stream", "/api/v3")
    assert spec.microseconds
    assert (spec.messages_per_s, spec.ping_every_s, spec.weight_per_minute) == (5, 20, 6000)
    assert spec.timeframes == tuple(Timeframe)


def test_usdm_streams_live_under_the_market_path() -> None:
    spec = venue_spec(Venue.USDM)
    assert (spec.stream_path, spec.rest_prefix) == ("/market/stream", "/fapi/v1")


def test_coinm_is_not_split_by_path() -> None:
    spec = venue_spec(Venue.COINM)
    assert (spec.stream_path, spec.rest_prefix) == ("/stream", "/dapi/v1")


@pytest.mark.parametrize("venue", [Venue.USDM, Venue.COINM])
def test_futures_have_no_second_and_no_microsecond(venue: Venue) -> None:
    spec = venue_spec(venue)
    assert Timeframe.S1 not in spec.timeframes
    assert len(spec.timeframes) == len(Timeframe) - 1
    assert not spec.microseconds
    assert (spec.messages_per_s, spec.ping_every_s, spec.weight_per_minute) == (10, 180, 2400)


@pytest.mark.parametrize(
    ("venue", "limit", "weight"),
    [
        (Venue.SPOT, 1, 2),
        (Venue.SPOT, 1000, 2),
        (Venue.USDM, 99, 1),
        (Venue.USDM, 100, 2),
        (Venue.USDM, 500, 5),
        (Venue.COINM, 1500, 10),
    ],
)
def test_weight_of_klines_follows_their_limit(venue: Venue, limit: int, weight: int) -> None:
    assert venue_spec(venue).klines_weight(limit) == weight


def test_a_limit_that_the_exchange_refuses_has_no_weight() -> None:
    with pytest.raises(ValueError, match="1001"):
        venue_spec(Venue.SPOT).klines_weight(1001)
