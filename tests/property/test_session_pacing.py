"""However pings fall and however often the driver looks: the exchange's limit on messages is never passed."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.binance.session import Pong, Session, SessionLimits, Text
from crypto_quant.binance.venues import venue_spec
from crypto_quant.market import NS_PER_MS, NS_PER_S, Venue

MOMENTS = st.lists(st.integers(0, 3000).map(lambda ms: ms * NS_PER_MS), max_size=30)


def run(venue: Venue, pings: list[int], looks: list[int], refusals: set[int]) -> list[tuple[int, Text | Pong]]:
    """Drive a full link for half a minute; return what it sent and when."""
    session = Session(0, [f"s{n}@aggTrade" for n in range(1024)], venue_spec(venue), SessionLimits(retry_pause_s=0.1))
    sent: list[tuple[int, Text | Pong]] = []
    moments = sorted([(at, True) for at in pings] + [(at, False) for at in looks])
    session.on_open(0)
    now = 0
    texts = 0
    while now < 30 * NS_PER_S:
        session.on_data(now)
        for item in session.to_send():
            sent.append((now, item))
            if isinstance(item, Text):
                texts += 1
                number = int(item.payload.rpartition(b":")[2].rstrip(b"}"))
                session.on_reply(number, (2, "no") if texts in refusals else None, now)
        deadline = session.deadline()
        if deadline is None:
            break
        if moments and moments[0][0] <= deadline:
            now, ping = moments.pop(0)
            if ping:
                session.on_ping(b"%d" % now, now)
            session.tick(now)
        else:
            now = deadline
            session.tick(now)
    return sent


def in_the_second_up_to(at: int, sent: list[tuple[int, Text | Pong]]) -> int:
    return sum(at - NS_PER_S < moment <= at for moment, _ in sent)


@given(st.sampled_from(Venue), MOMENTS, MOMENTS, st.sets(st.integers(1, 8), max_size=3))
def test_a_subscription_is_only_sent_where_the_second_has_room_for_a_pong_more(
    venue: Venue, pings: list[int], looks: list[int], refusals: set[int]
) -> None:
    sent = run(venue, pings, looks, refusals)
    for number, (at, item) in enumerate(sent):
        if isinstance(item, Text):
            assert in_the_second_up_to(at, sent[: number + 1]) <= venue_spec(venue).messages_per_s - 1


@given(st.sampled_from(Venue), MOMENTS, MOMENTS, st.sets(st.integers(1, 8), max_size=3))
def test_no_second_holds_more_messages_than_allowed_while_pings_are_a_second_apart(
    venue: Venue, gaps: list[int], looks: list[int], refusals: set[int]
) -> None:
    # (the exchange pings every 20 s at most; what the exchange itself asks for in a burst cannot be refused)
    pings = []
    at = 0
    for gap in gaps:
        at += NS_PER_S + gap
        pings.append(at)
    sent = run(venue, pings, looks, refusals)
    for at, _ in sent:
        assert in_the_second_up_to(at, sent) <= venue_spec(venue).messages_per_s


@given(MOMENTS, MOMENTS)
def test_every_ping_is_answered_in_its_own_moment(pings: list[int], looks: list[int]) -> None:
    sent = run(Venue.SPOT, pings, looks, set())
    assert [(at, item.payload) for at, item in sent if isinstance(item, Pong)] == [
        (at, b"%d" % at) for at in sorted(pings)
    ]


@given(MOMENTS, MOMENTS)
def test_every_name_is_subscribed_in_the_end(pings: list[int], looks: list[int]) -> None:
    sent = run(Venue.SPOT, pings, looks, set())
    assert sum(isinstance(item, Text) for _, item in sent) == 6
