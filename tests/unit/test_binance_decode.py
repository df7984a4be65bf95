"""Frames as the exchange documents them, and what must never pass for one."""

import json
from collections.abc import Callable

import pytest
from flow_doubles import agg_frame, kline_frame

from crypto_quant.binance import wire
from crypto_quant.binance.decode import OTHER_EVENTS, decode
from crypto_quant.errors import UndecodableFrame

AGG = (
    b'{"e":"aggTrade","E":1790856001201,"s":"BTCUSDT","a":3000000001,"p":"64250.10000000","q":"0.01000000",'
    b'"f":5000000001,"l":5000000002,"T":1790856001200,"m":true,"M":true}'
)
AGG_US = AGG.replace(b"1790856001201", b"1790856001201213").replace(b"1790856001200,", b"1790856001200874,")
RUNNING = (
    b'{"e":"kline","E":1790856042015,"s":"BTCUSDT","k":{"t":1790856000000,"T":1790856059999,"s":"BTCUSDT","i":"1m",'
    b'"f":5000000001,"L":5000000005,"o":"64250.10000000","c":"64250.50000000","h":"64250.50000000",'
    b'"l":"64250.00000000","v":"0.01500000","n":5,"x":false,"q":"963.75225000","V":"0.00250000",'
    b'"Q":"160.62625000","B":"0"}}'
)
CLOSED = RUNNING.replace(b'"x":false', b'"x":true')
EMPTY = (
    b'{"e":"kline","E":1790856061002,"s":"BTCUSDT","k":{"t":1790856060000,"T":1790856060999,"s":"BTCUSDT","i":"1s",'
    b'"f":-1,"L":-1,"o":"64250.50000000","c":"64250.50000000","h":"64250.50000000","l":"64250.50000000",'
    b'"v":"0.00000000","n":0,"x":true,"q":"0.00000000","V":"0.00000000","Q":"0.00000000","B":"0"}}'
)
IGNORED = {
    "trade": b'{"e":"trade","E":1,"s":"BTCUSDT","t":5,"p":"64250.1","q":"0.004","T":1,"m":true,"M":true}',
    "blockTrade": b'{"e":"blockTrade","E":1,"s":"BTCUSDT","t":582,"p":"64200.0","q":"40.0","T":1,"m":false}',
    "24hrMiniTicker": b'{"e":"24hrMiniTicker","E":1,"s":"BTCUSDT","c":"1","o":"1","h":"1","l":"1","v":"1","q":"1"}',
    "24hrTicker": b'{"e":"24hrTicker","E":1,"s":"BTCUSDT","p":"440.5","P":"0.690","w":"1","n":3000000}',
    "1hTicker": b'{"e":"1hTicker","E":1,"s":"BTCUSDT","p":"120.4","O":1,"C":2,"F":3,"L":4,"n":5}',
    "avgPrice": b'{"e":"avgPrice","E":1,"s":"BTCUSDT","i":"5m","w":"64238.1","T":1}',
    "depthUpdate": b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}',
    "referencePrice": b'{"e":"referencePrice","s":"BTCUSDT","r":null,"t":1}',
    "bookTicker": b'{"u":90000000160,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}',
    "depth": b'{"lastUpdateId":90000000160,"bids":[["1","2"]],"asks":[]}',
}


def combined(payload: bytes, stream: str = "btcusdt@aggTrade") -> bytes:
    return b'{"stream":"' + stream.encode() + b'","data":' + payload + b"}"


def changed(payload: bytes, **fields: object) -> bytes:
    """Return the frame with fields replaced; a field set to ``...`` is left out."""
    value = json.loads(payload)
    value.update(fields)
    return json.dumps({k: v for k, v in value.items() if v is not ...}).encode()


def refusal(payload: bytes) -> str:
    with pytest.raises(UndecodableFrame) as caught:
        decode(payload)
    return str(caught.value)


@pytest.mark.parametrize("wrap", [combined, bytes], ids=["combined", "raw"])
@pytest.mark.parametrize(("payload", "time"), [(AGG, 1790856001200), (AGG_US, 1790856001200874)], ids=["ms", "us"])
def test_an_aggregate_trade_keeps_every_field_and_the_exchanges_text(
    wrap: Callable[[bytes], bytes], payload: bytes, time: int
) -> None:
    message = decode(wrap(payload))
    assert isinstance(message, wire.AggTrade)
    assert (message.s, message.a, message.p, message.q) == ("BTCUSDT", 3000000001, "64250.10000000", "0.01000000")
    assert (message.f, message.l, message.T, message.m) == (5000000001, 5000000002, time, True)


@pytest.mark.parametrize("wrap", [combined, bytes], ids=["combined", "raw"])
@pytest.mark.parametrize(("payload", "closed", "count"), [(RUNNING, False, 5), (CLOSED, True, 5), (EMPTY, True, 0)])
def test_a_candle_says_whether_it_is_closed(
    wrap: Callable[[bytes], bytes], payload: bytes, closed: bool, count: int
) -> None:
    message = decode(wrap(payload))
    assert isinstance(message, wire.Kline)
    assert (message.k.x, message.k.n) == (closed, count)
    assert json.loads(payload)["k"]["c"] == message.k.c


@pytest.mark.parametrize("payload", [
    b'{"e":"serverShutdown","E":1790856030000}',
    b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1790856030000}}',
])  # fmt: skip
def test_a_shutdown_notice_is_told_in_either_form(payload: bytes) -> None:
    assert decode(payload) == wire.ServerShutdown(1790856030000)


@pytest.mark.parametrize("wrap", [combined, bytes], ids=["combined", "raw"])
@pytest.mark.parametrize("event", IGNORED)
def test_other_documented_events_are_named_not_refused(wrap: Callable[[bytes], bytes], event: str) -> None:
    assert decode(wrap(IGNORED[event])) == wire.Ignored(event)


def test_each_event_known_by_name_is_ignored_by_that_name() -> None:
    for event in OTHER_EVENTS:
        assert decode(b'{"e":"%s"}' % event.encode()) == wire.Ignored(event)


@pytest.mark.parametrize(("payload", "reply"), [
    (b'{"result":null,"id":1}', wire.Reply(1, None)),
    (b'{"id":7,"result":["btcusdt@aggTrade"]}', wire.Reply(7, None)),
    (b'{"result":null,"id":null}', wire.Reply(None, None)),
    (b'{"result":null,"id":"abc"}', wire.Reply(None, None)),
    (b'{"result":null,"id":true}', wire.Reply(None, None)),
    (b'{"error":{"code":2,"msg":"Invalid request"},"id":3}', wire.Reply(3, (2, "Invalid request"))),
    (b'{"error":{"code":2,"msg":"Invalid request"},"id":null}', wire.Reply(None, (2, "Invalid request"))),
    (b'{"code":2,"msg":"Invalid request","id":3}', wire.Reply(3, (2, "Invalid request"))),
    (b'{"error":{"code":true,"msg":5},"id":4}', wire.Reply(4, (0, "5"))),
    (b'{"error":{},"id":4}', wire.Reply(4, (0, ""))),
    (b'{"error":"no","id":4}', wire.Reply(4, (0, "no"))),
    (b'{"error":null,"id":4}', wire.Reply(4, None)),
])  # fmt: skip
def test_a_control_reply_is_read_flat_and_nested(payload: bytes, reply: wire.Reply) -> None:
    assert decode(payload) == reply


@pytest.mark.parametrize("symbol", ["币安人生USDT", "1000SATSUSDT", "BTCUSD_PERP", "这是测试币456"])
def test_symbols_are_taken_as_they_are(symbol: str) -> None:
    assert decode(agg_frame(1, symbol=symbol)).s == symbol
    escaped = json.dumps(json.loads(agg_frame(1, symbol=symbol))).encode()
    assert decode(escaped).s == symbol


BAD_NUMBERS = [
    "NaN", "-1", "+1",
    "1e5", "1E5", "", ".5", "5.", ".", "1.2.3", "1,5", " 1", "1 ", "1\n", "0x10", "1_000", "Infinity",
    "١٢", "１２.５", "²", "1.١٢٣٤٥٦٧٨", "1.000000001", "1.12345678٩", "9" * 60, "1" * 13, "1" * 13 + ".00000000",
    ".12345678", "-.12345678", "-1.12345678", "1.2.12345678", "1\x00",
]  # fmt: skip


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("field", ["p", "q"])
def test_a_price_or_quantity_that_the_table_would_not_hold_exactly_is_refused(field: str, number: str) -> None:
    text = refusal(changed(AGG, **{field: number}))
    assert "not a decimal" in text


@pytest.mark.parametrize("number", ["0", "0.00000000", "007", "999999999999.99999999", "1.5", "12.12345678", "5"])
def test_plain_decimals_pass_to_the_last_digit(number: str) -> None:
    assert decode(changed(AGG, p=number)).p == number


@pytest.mark.parametrize("field", ["o", "h", "l", "c", "v", "q", "V", "Q"])
@pytest.mark.parametrize("number", ["NaN", "-1.00000000", "1.000000001", "1" * 31, ""])
def test_every_number_of_a_closed_candle_is_checked(field: str, number: str) -> None:
    body = json.loads(CLOSED)["k"] | {field: number}
    assert f" {field} = " in refusal(changed(CLOSED, k=body))


def test_volumes_may_be_larger_than_prices() -> None:
    volume = "9" * 30 + ".99999999"
    assert decode(changed(CLOSED, k=json.loads(CLOSED)["k"] | {"v": volume})).k.v == volume


def test_a_candle_of_two_symbols_is_refused() -> None:
    assert "'ETHUSDT'" not in refusal(changed(CLOSED, s="ETHUSDT"))
    assert "ETHUSDT outside, BTCUSDT inside" in refusal(changed(CLOSED, s="ETHUSDT"))


@pytest.mark.parametrize("field", ["E", "s", "a", "p", "q", "f", "l", "T", "m"])
@pytest.mark.parametrize("wrap", [combined, bytes], ids=["combined", "raw"])
def test_a_missing_field_is_named(wrap: Callable[[bytes], bytes], field: str) -> None:
    text = refusal(wrap(changed(AGG, **{field: ...})))
    assert f"`{field}`" in text
    assert text.startswith("aggTrade:")


@pytest.mark.parametrize(("field", "value"), [
    ("E", "1790856001201"), ("E", 1.5), ("E", -1), ("E", None), ("T", 253_402_300_800_000_000), ("s", 5), ("s", None),
    ("a", "1"), ("a", -1), ("a", 2**63), ("a", 10**40), ("a", True), ("p", 64250.1), ("p", None), ("q", ["1"]),
    ("f", -2), ("l", 2**63), ("m", 1), ("m", "true"), ("m", None),
])  # fmt: skip
@pytest.mark.parametrize("wrap", [combined, bytes], ids=["combined", "raw"])
def test_a_mistyped_or_impossible_field_is_named(wrap: Callable[[bytes], bytes], field: str, value: object) -> None:
    text = refusal(wrap(changed(AGG, **{field: value})))
    assert field in text.rpartition("$")[2]


@pytest.mark.parametrize(("payload", "says"), [
    (b"", "not JSON"),
    (b"\x00", "not JSON"),
    (b"hello", "not JSON"),
    (AGG[:-1], "not JSON"),
    (combined(AGG)[:-1], "not JSON"),
    (combined(AGG) + b"x", "not JSON"),
    (b"\xef\xbb\xbf" + AGG, "not JSON"),
    (b"[]", "not an object but list"),
    (b"null", "not an object but NoneType"),
    (b'"aggTrade"', "not an object but str"),
    (b"1", "not an object but int"),
    (b"{}", "no event name"),
    (b'{"stream":"x"}', "data is not an object"),
    (b'{"stream":"x","data":null}', "data is not an object"),
    (b'{"stream":"x","data":[1]}', "data is not an object but list"),
    (b'{"result":null,"id":1,"stream":"x"}', "data is not an object"),
    (b'{"e":"somethingNew","E":1}', "unknown event somethingNew"),
    (b'{"e":["aggTrade"]}', "unknown event ['aggTrade']"),
    (b'{"e":{"a":1}}', "unknown event"),
    (b'{"e":null}', "no event name"),
    (b'{"e":"AGGTRADE"}', "unknown event AGGTRADE"),
    (b'{"data":{"e":"trade"},"data":{"e":"aggTrade"}}', "aggTrade:"),
    (combined(AGG.replace(b"BTCUSDT", b"BTC\xff")), "not JSON"),
    (AGG.replace(b"BTCUSDT", b"BTC\xff"), "not JSON"),
    (combined(AGG.replace(b"64250.10000000", b"64250.1\xc3")), "not JSON"),
    (b'{"stream":"\xff","data":' + AGG + b"}", "not JSON"),
    (combined(AGG.replace(b"BTCUSDT", b"BTC\\ud800")), "not JSON"),
    (combined(AGG.replace(b"BTCUSDT", b"\xed\xa0\x80")), "not JSON"),
    (combined(AGG.replace(b"BTCUSDT", b"BTC\x00")), "not JSON"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a":' * 100_000, "nested too deeply"),
    (combined(b"[" * 100_000), "nested too deeply"),
    (combined(b'{"e":"aggTrade","x":' + b"[" * 100_000), "nested too deeply"),
    (b'{"x":' + b"9" * 5000 + b"}", "not JSON"),
    (b'{"x":1e999}', "not JSON"),
])  # fmt: skip
def test_damage_is_told_as_what_it_is(payload: bytes, says: str) -> None:
    assert says in refusal(payload)


def test_nesting_near_the_limit_is_refused_at_every_depth() -> None:
    for depth in range(880, 1010):
        refusal(b'{"e":' + b"[" * depth + b"]" * depth + b"}")


def test_what_a_refusal_quotes_is_clipped() -> None:
    assert len(refusal(b'{"e":"' + b"x" * 5_000_000 + b'"}')) < 200
    assert len(refusal(changed(AGG, p="9" * 100_000))) < 300


def test_the_last_of_duplicate_keys_holds_as_for_every_json_reader() -> None:
    payload = combined(AGG.replace(b'"p":"64250.10000000"', b'"p":"1.0","p":"2.5"'))
    assert decode(payload).p == json.loads(payload)["data"]["p"] == "2.5"


def test_escaped_keys_and_unknown_fields_do_not_matter() -> None:
    payload = combined(AGG.replace(b'"e"', b'"\\u0065"').replace(b'"M":true', b'"M":{"new":[1,{}]},"nq":"1"'))
    assert decode(payload) == decode(AGG)


def test_an_open_candle_is_not_held_to_what_only_a_closed_one_needs() -> None:
    assert decode(kline_frame(closed=False, close="1e5")).k.x is False
    assert "price c" in refusal(kline_frame(closed=True, close="1e5"))


def test_times_reach_from_the_epoch_to_the_end_of_calendars() -> None:
    for time in (0, 1, 10**14 - 1, 10**14, 253_402_300_799_999_999):
        assert time == decode(agg_frame(1, time=time, event=0)).T
