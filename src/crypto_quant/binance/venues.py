"""What each venue of Binance is: hosts, paths, limits and weights, each with its source.

Sources, read in 2026-10: the spot documentation (github binance/binance-spot-api-docs: ``web-socket-streams.md``,
``rest-api.md``, ``faqs/market_data_only.md``), the futures documentation (developers.binance.com) and the official
Python SDKs. Where they are silent the reason for our choice is given instead.
"""

from enum import StrEnum

import msgspec

from crypto_quant.market import Timeframe, Venue


class StreamKind(StrEnum):
    """The kinds of stream that are recorded; the value is the exchange's own word."""

    AGG_TRADE = "aggTrade"
    KLINE = "kline"


class VenueSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One venue's hosts, paths, limits and weights. Weights are those of one request without ``limit``'s effect.

    ``klines_weights`` are (largest ``limit``, weight) pairs in rising order; see ``klines_weight``.
    """

    venue: Venue
    ws_url: str
    rest_url: str
    stream_path: str
    rest_prefix: str
    stream_kinds: tuple[StreamKind, ...]
    timeframes: tuple[Timeframe, ...]
    microseconds: bool

    streams_per_link: int
    names_per_subscribe: int
    messages_per_s: int
    connects: int
    connects_window_s: int
    connects_reserve: int
    ping_every_s: int
    life_s: int

    weight_per_minute: int
    weight_time: int
    weight_exchange_info: int
    weight_agg_trades: int
    klines_weights: tuple[tuple[int, int], ...]
    exchange_info_params: tuple[tuple[str, str], ...]

    def klines_weight(self, limit: int) -> int:
        """Return the weight of one klines request for at most ``limit`` candles."""
        for most, weight in self.klines_weights:
            if limit <= most:
                return weight
        raise ValueError(f"no klines request takes a limit of {limit}")


_KINDS = (StreamKind.AGG_TRADE, StreamKind.KLINE)
_FUTURES_TIMEFRAMES = tuple(timeframe for timeframe in Timeframe if timeframe is not Timeframe.S1)
# A single SUBSCRIBE with 437 names was ignored without an error (ccxws#161, 2020); 200 is known to work.
_NAMES_PER_SUBSCRIBE = 200
# Other programs may share the address, and a person may start us anew: a fifth of the attempts stays unused.
_CONNECTS_RESERVE = 60
# /fapi/v1/klines and /dapi/v1/klines: limit < 100: 1, < 500: 2, <= 1000: 5, above that 10 (official SDKs)
_FUTURES_KLINES_WEIGHTS = ((99, 1), (499, 2), (1000, 5), (1500, 10))

_SPECS = {
    Venue.SPOT: VenueSpec(
        venue=Venue.SPOT,
        # market data alone, no key, and reachable where api.binance.com is not (faqs/market_data_only.md)
        ws_url="wss://data-stream.binance.vision",
        rest_url="https://data-api.binance.vision",
        # combined mode: every payload comes with its stream's name (web-socket-streams.md, General information)
        stream_path="/stream",
        rest_prefix="/api/v3",
        stream_kinds=_KINDS,
        # web-socket-streams.md, Klines: 1s ... 1M
        timeframes=tuple(Timeframe),
        # timeUnit=MICROSECOND since 2024-12-17 (CHANGELOG.md)
        microseconds=True,
        # web-socket-streams.md, General information and Websocket limits: 1024 streams a connection, 5 messages/s
        # (ping, pong and control messages count alike), 300 attempts in 5 minutes, a ping every 20 s, 24 hours
        streams_per_link=1024,
        names_per_subscribe=_NAMES_PER_SUBSCRIBE,
        messages_per_s=5,
        connects=300,
        connects_window_s=300,
        connects_reserve=_CONNECTS_RESERVE,
        ping_every_s=20,
        life_s=86_400,
        # rest-api.md: each endpoint's weight; the limit is what exchangeInfo.rateLimits says
        weight_per_minute=6000,
        weight_time=1,
        weight_exchange_info=20,
        weight_agg_trades=4,
        klines_weights=((1000, 2),),
        # permission sets are by far the larger part of the answer, and of no use to a recorder (rest-api.md)
        exchange_info_params=(("showPermissionSets", "false"),),
    ),
    Venue.USDM: VenueSpec(
        venue=Venue.USDM,
        ws_url="wss://fstream.binance.com",
        rest_url="https://fapi.binance.com",
        # Paths are split by category since 2026-03-06. The old /stream still opens and still acknowledges, but
        # market streams stay silent there for ever ("Important WebSocket Change Notice").
        stream_path="/market/stream",
        rest_prefix="/fapi/v1",
        stream_kinds=_KINDS,
        # klines of 1s: REST answers -1120, the stream is silent
        timeframes=_FUTURES_TIMEFRAMES,
        # no timeUnit on futures
        microseconds=False,
        # "Websocket Market Streams": 1024 streams a connection since 2025-07-02, 10 messages/s, a ping every
        # 3 minutes, 24 hours. No limit on connections is documented; we keep to the spot one.
        streams_per_link=1024,
        names_per_subscribe=_NAMES_PER_SUBSCRIBE,
        messages_per_s=10,
        connects=300,
        connects_window_s=300,
        connects_reserve=_CONNECTS_RESERVE,
        ping_every_s=180,
        life_s=86_400,
        # one pool of 2400 for fapi and dapi since 2026-06-30
        weight_per_minute=2400,
        weight_time=1,
        weight_exchange_info=1,
        weight_agg_trades=20,
        klines_weights=_FUTURES_KLINES_WEIGHTS,
        # futures ignore every parameter of exchangeInfo
        exchange_info_params=(),
    ),
    Venue.COINM: VenueSpec(
        venue=Venue.COINM,
        ws_url="wss://dstream.binance.com",
        rest_url="https://dapi.binance.com",
        # not split by category, unlike USD-M (frames recorded 2026-08-08)
        stream_path="/stream",
        rest_prefix="/dapi/v1",
        stream_kinds=_KINDS,
        timeframes=_FUTURES_TIMEFRAMES,
        microseconds=False,
        # the same rules as USD-M
        streams_per_link=1024,
        names_per_subscribe=_NAMES_PER_SUBSCRIBE,
        messages_per_s=10,
        connects=300,
        connects_window_s=300,
        connects_reserve=_CONNECTS_RESERVE,
        ping_every_s=180,
        life_s=86_400,
        weight_per_minute=2400,
        weight_time=1,
        weight_exchange_info=1,
        weight_agg_trades=20,
        klines_weights=_FUTURES_KLINES_WEIGHTS,
        exchange_info_params=(),
    ),
}


def venue_spec(venue: Venue) -> VenueSpec:
    """Return what is known of a venue."""
    return _SPECS[venue]
