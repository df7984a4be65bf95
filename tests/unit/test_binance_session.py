"""One link's life, told in bytes and nanoseconds."""

import json

import pytest

from crypto_quant import events
from crypto_quant.binance.session import Pong, Session, SessionLimits, Text
from crypto_quant.binance.venues import venue_spec
from crypto_quant.market import NS_PER_S, Venue

S = NS_PER_S
SPOT = venue_spec(Venue.SPOT)
T0 = 1_000 * S


def names(count: int) -> list[str]:
    return [f"s{number}usdt@aggTrade" for number in range(count)]


def opened(count: int = 1, limits: SessionLimits | None = None, link: int = 0) -> Session:
    session = Session(link, names(count), SPOT, limits or SessionLimits())
    session.on_open(T0)
    return session


def texts(session: Session) -> list[dict[str, object]]:
    return [json.loads(item.payload) for item in session.to_send() if isinstance(item, Text)]


def subscribed(count: int = 1) -> Session:
    """A link whose only batch is acknowledged, and that has told so."""
    session = opened(count)
    session.to_send()
    session.on_reply(1, None, T0)
    session.events()
    return session


# -- subscribing ------------------------------------------------------------------------------------------


def test_nothing_is_due_before_the_link_is_open() -> None:
    session = Session(3, names(1), SPOT)
    session.tick(T0)
    assert session.to_send() == []
    assert session.deadline() is None
    assert session.replace is None


@pytest.mark.parametrize("count", [0, 1025])
def test_a_link_carries_what_the_exchange_permits(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 1024 streams"):
        Session(0, names(count), SPOT)


def test_an_open_link_subscribes_at_once_in_the_exchanges_words() -> None:
    session = opened(2)
    assert session.to_send() == [Text(b'{"method":"SUBSCRIBE","params":["s0usdt@aggTrade","s1usdt@aggTrade"],"id":1}')]
    assert session.to_send() == []


def test_names_beyond_ascii_travel_as_utf8() -> None:
    session = Session(0, ["币安人生usdt@aggTrade"], SPOT)
    session.on_open(T0)
    assert "币安人生usdt@aggTrade".encode() in session.to_send()[0].payload


def test_many_names_go_in_batches_a_quarter_second_apart() -> None:
    session = opened(1024)
    sent: list[tuple[int, dict[str, object]]] = [(T0, text) for text in texts(session)]
    while len(sent) < 6:
        at = session.deadline()
        assert at is not None
        session.tick(at - 1)
        assert texts(session) == []  # not before its time
        session.tick(at)
        sent += [(at, text) for text in texts(session)]
    assert [at - T0 for at, _ in sent] == [number * S // 4 for number in range(6)]
    assert [text["id"] for _, text in sent] == [1, 2, 3, 4, 5, 6]
    assert [len(text["params"]) for _, text in sent] == [200, 200, 200, 200, 200, 24]  # type: ignore[arg-type]
    assert [name for _, text in sent for name in text["params"]] == names(1024)  # type: ignore[attr-defined]


def test_it_is_subscribed_when_all_batches_are_acknowledged() -> None:
    session = opened(201)
    session.tick(T0 + S)
    session.on_reply(2, None, T0 + S)
    assert session.events() == []
    assert not session.subscribed
    session.on_reply(1, None, T0 + S)
    assert session.events() == [events.Subscribed(link=0, streams=201)]
    assert session.subscribed
    session.on_reply(1, None, T0 + 2 * S)  # once more: nothing new
    assert session.events() == []
    assert session.replace is None


@pytest.mark.parametrize("request_id", [None, 0, -1, 2, 99, 2**63])
@pytest.mark.parametrize("error", [None, (2, "Invalid request")])
def test_answers_to_what_was_not_asked_are_ignored(request_id: int | None, error: tuple[int, str] | None) -> None:
    session = subscribed()
    session.on_reply(request_id, error, T0 + S)
    assert session.events() == []
    assert session.replace is None


def test_a_reply_without_id_acknowledges_nothing() -> None:
    session = opened()
    session.on_reply(None, None, T0)
    assert not session.subscribed


def test_the_answer_to_a_batch_not_yet_sent_is_none() -> None:
    session = opened(201)
    session.on_reply(2, None, T0)
    session.on_reply(1, None, T0)
    assert not session.subscribed


# -- refusals ---------------------------------------------------------------------------------------------


def test_a_refused_batch_is_tried_again_and_can_succeed() -> None:
    session = opened()
    session.to_send()
    session.on_reply(1, (2, "Invalid request"), T0 + S)
    assert session.events() == [
        events.SubscriptionRefused(link=0, code=2, reason="Invalid request", streams=("s0usdt@aggTrade",))
    ]
    assert session.deadline() == T0 + 6 * S
    session.tick(T0 + 6 * S - 1)
    assert texts(session) == []
    session.tick(T0 + 6 * S)
    assert [text["id"] for text in texts(session)] == [1]
    session.on_reply(1, None, T0 + 7 * S)
    assert session.events() == [events.Subscribed(link=0, streams=1)]
    assert session.replace is None


def test_a_batch_refused_three_times_ends_the_link() -> None:
    session = opened()
    now = T0
    for attempt in range(3):
        assert session.replace is None
        assert len(texts(session)) == 1, attempt
        session.on_reply(1, (4, "Too many subscriptions"), now)
        now += 5 * S
        session.tick(now)
    assert session.replace == "subscription refused"
    assert texts(session) == []
    assert len(session.events()) == 3


def test_a_refusal_without_id_is_the_oldest_ones() -> None:
    session = opened(201)
    session.tick(T0 + S)
    session.on_reply(None, (3, "Invalid JSON"), T0 + S)
    (refused,) = session.events()
    assert isinstance(refused, events.SubscriptionRefused)
    assert len(refused.streams) == 200


# -- unanswered -------------------------------------------------------------------------------------------


def test_no_answer_and_no_data_replaces_the_link() -> None:
    session = opened()
    assert session.deadline() == T0 + 10 * S
    session.tick(T0 + 10 * S - 1)
    assert session.events() == []
    session.tick(T0 + 10 * S)
    assert session.events() == [events.SubscriptionUnanswered(link=0, waited_s=10.0)]
    assert session.replace == "subscription not acknowledged"
    assert session.deadline() is None


def test_no_answer_but_data_keeps_the_link_and_asks_again() -> None:
    session = opened()
    session.to_send()
    session.on_data(T0 + 1)  # before any acknowledgement
    for second in (10, 20, 30, 40):
        session.on_data(T0 + second * S)
        session.tick(T0 + second * S)
    assert len(texts(session)) == 2  # three attempts in all
    assert [type(event) for event in session.events()] == [events.SubscriptionUnanswered]
    assert session.replace is None
    session.on_reply(1, None, T0 + 50 * S)  # very late
    assert session.events() == [events.Subscribed(link=0, streams=1)]


# -- silence ----------------------------------------------------------------------------------------------


def test_neither_data_nor_ping_for_a_minute_is_silence() -> None:
    session = subscribed()
    session.on_data(T0 + 5 * S)
    assert session.deadline() == T0 + 65 * S
    session.tick(T0 + 65 * S - 1)
    assert session.replace is None
    session.tick(T0 + 65 * S)
    assert session.replace == "silence"
    assert session.events() == [events.LinkSilent(link=0, silent_s=60.0)]
    session.tick(T0 + 66 * S)
    assert session.events() == []


def test_silence_from_the_beginning() -> None:
    session = subscribed()
    session.tick(T0 + 60 * S)
    assert session.replace == "silence"


def test_pings_are_life_but_not_for_ever() -> None:
    session = subscribed()
    for second in range(20, 900, 20):
        session.on_ping(b"x", T0 + second * S)
        session.tick(T0 + second * S)
        assert session.replace is None
    session.tick(T0 + 900 * S)
    assert session.replace == "no data"
    assert session.events() == [events.LinkSilent(link=0, silent_s=900.0)]


def test_silence_is_told_once_when_both_kinds_end_together() -> None:
    session = opened(limits=SessionLimits(silence_s=5, quiet_s=5))
    session.tick(T0 + 5 * S)
    assert len(session.events()) == 1
    assert session.replace == "silence"


def test_our_own_pause_is_not_the_exchanges_silence() -> None:
    session = opened(201)
    session.tick(T0 + S)
    session.on_reply(2, None, T0 + S)
    session.on_reading(True, T0 + S)
    assert session.deadline() == T0 + 23 * 3600 * S
    session.tick(T0 + 2000 * S)
    assert session.replace is None
    assert session.events() == []
    session.on_reading(False, T0 + 2000 * S)
    assert session.deadline() == T0 + 2010 * S  # the answer may still be among what was not read
    session.on_reply(1, None, T0 + 2001 * S)
    assert session.events() == [events.Subscribed(link=0, streams=201)]
    session.tick(T0 + 2060 * S)
    assert session.replace is None
    session.tick(T0 + 2061 * S)
    assert session.replace == "silence"


# -- the end of life --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("link", "early_s"), [(0, 3600), (1, 3615), (63, 4545), (64, 3600)])
def test_a_link_is_replaced_an_hour_before_the_exchange_ends_it(link: int, early_s: int) -> None:
    session = Session(link, names(1), SPOT, SessionLimits(quiet_s=10**6, silence_s=10**6))
    session.on_open(T0)
    session.on_reply(1, None, T0)
    session.events()
    end = T0 + (86_400 - early_s) * S
    assert session.deadline() == end
    session.tick(end - 1)
    assert session.replace is None
    session.tick(end)
    assert session.replace == "end of life"
    assert session.events() == [events.LinkExpiring(link=link, cause="end of life")]


def test_a_shutdown_notice_replaces_the_link_and_the_first_reason_stays() -> None:
    session = subscribed()
    session.on_server_shutdown(T0 + S)
    session.on_server_shutdown(T0 + 2 * S)
    session.tick(T0 + 50 * S)
    assert session.replace == "server shutdown"
    assert not session.dead
    assert session.events() == [events.LinkExpiring(link=0, cause="server shutdown")]
    # it may have to wait long for its successor, and is watched meanwhile
    assert session.deadline() == T0 + 62 * S
    session.tick(T0 + 62 * S)
    assert session.replace == "server shutdown"
    assert session.dead
    assert session.deadline() is None


def test_a_link_to_be_replaced_still_answers_pings_but_subscribes_no_more() -> None:
    session = opened(1024)
    session.to_send()
    session.on_server_shutdown(T0)
    session.on_ping(b"1", T0 + S)
    session.tick(T0 + S)
    session.on_reply(1, (2, "no"), T0 + S)
    assert session.to_send() == [Pong(b"1")]


def test_a_link_found_to_be_dead_subscribes_no_more_in_that_moment() -> None:
    session = opened(1024, SessionLimits(silence_s=0.25))
    session.to_send()
    session.tick(T0 + S // 4)  # when the second batch would go
    assert session.replace == "silence"
    assert session.to_send() == []


# -- pings ------------------------------------------------------------------------------------------------


def test_a_pong_copies_its_ping_at_once() -> None:
    session = opened()
    session.to_send()
    for payload in (b"", b"1790856000000", bytes(range(125))):
        session.on_ping(payload, T0)
    assert session.to_send() == [Pong(b""), Pong(b"1790856000000"), Pong(bytes(range(125)))]


def test_pongs_count_and_the_next_subscription_waits() -> None:
    session = opened(1024)
    session.to_send()
    for number in range(4):
        session.on_ping(b"%d" % number, T0 + number)
    session.to_send()
    assert session.deadline() == T0 + S  # four pongs fill the second that began with the first
    session.tick(T0 + S - 1)
    assert session.to_send() == []
    session.tick(T0 + S)
    assert len(session.to_send()) == 1
