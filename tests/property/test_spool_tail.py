"""Whatever happens to the end of a segment, what is read is exactly a prefix of what was written."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.seams import Covered, Source, Table
from crypto_quant.spoolformat import FIRST_LINK, HEAD, SpoolRecord, decode, encode, scan

RECORDS = st.lists(
    st.builds(
        SpoolRecord,
        st.sampled_from(Table),
        st.lists(st.binary(max_size=40), max_size=6),
        st.lists(
            st.builds(Covered, st.just("spot"), st.text(max_size=5), st.integers(0, 99), st.integers(0, 99),
                      st.sampled_from(Source)), max_size=2,
        ).map(tuple),
    ),
    max_size=6,
)  # fmt: skip


def written(records: list[SpoolRecord]) -> tuple[bytes, list[int]]:
    """Return a segment and where each of its records ends."""
    data, link, ends = HEAD, FIRST_LINK, [len(HEAD)]
    for record in records:
        more, link = encode(record, link)
        data += more
        ends.append(len(data))
    return data, ends


def read(data: bytes) -> list[SpoolRecord]:
    return [decode(data, each) for each in scan(data)[0]]


@given(RECORDS)
def test_what_was_written_is_read(records: list[SpoolRecord]) -> None:
    assert read(written(records)[0]) == records


@given(RECORDS, st.data())
def test_a_cut_leaves_exactly_the_records_before_it(records: list[SpoolRecord], data: st.DataObject) -> None:
    whole, ends = written(records)
    size = data.draw(st.integers(0, len(whole)))
    framed, damage = scan(whole[:size])
    complete = sum(end <= size for end in ends[1:])
    assert read(whole[:size]) == records[:complete]
    assert len(framed) == complete
    if size in ends:
        assert damage is None
    else:
        assert damage is not None
        assert damage.torn
        assert damage.offset == (ends[complete] if size >= len(HEAD) else 0)


@given(RECORDS.filter(bool), st.data())
def test_a_changed_byte_leaves_exactly_the_records_before_it(records: list[SpoolRecord], data: st.DataObject) -> None:
    whole, ends = written(records)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    untouched = sum(end <= place for end in ends[1:]) if place >= len(HEAD) else 0
    assert read(bytes(changed)) == records[:untouched]
    assert scan(bytes(changed))[1] is not None


@given(RECORDS, st.binary(min_size=1, max_size=60))
def test_what_was_appended_by_nobody_is_never_a_record(records: list[SpoolRecord], rubbish: bytes) -> None:
    whole, ends = written(records)
    framed, damage = scan(whole + rubbish)
    assert [decode(whole, each) for each in framed] == records
    assert damage is not None
    assert damage.offset == ends[-1]
