"""How rows lie in a spool's segment files. Pure: bytes in, records out.

A segment is ``HEAD`` and then records. A record is a frame (length of its body, checksum, number of rows, table) and
its body in MessagePack. The checksum is CRC-32 over the frame's other fields and the body, and it begins with the
checksum of the record before: a record is valid only in its place, behind everything that came before it. So what can
be read of a file, whatever has happened to its end, is exactly a prefix of what was written.
"""

import struct
import zlib

import msgspec

from crypto_quant.events import CandleStored
from crypto_quant.seams import Covered, Table

HEAD = b"CQSPOOL1"
SUFFIX = ".spool"
DAMAGED_SUFFIX = ".damaged"
# no body is longer: a length beyond it is damage, and is not believed
BODY_MAX_BYTES = 1 << 30

_FRAME = struct.Struct("<IIIB")
_CHECKED = struct.Struct("<IIB")
# these numbers are in files: never change one, only add
_CODES = {Table.TRADES: 1, Table.CANDLES: 2}
_TABLES = {code: table for table, code in _CODES.items()}

FRAME_BYTES = _FRAME.size
FIRST_LINK = zlib.crc32(HEAD)


class SpoolRecord(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one table with what they prove, and what is to be told once they are committed."""

    table: Table
    rows: list[bytes]
    covered: tuple[Covered, ...] = ()
    told: tuple[CandleStored, ...] = ()


class _Proof(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of a record's body, its rows unread."""

    table: Table
    rows: msgspec.Raw
    covered: tuple[Covered, ...] = ()


class Framed(msgspec.Struct, frozen=True):
    """One valid record as it lies in a segment: its bytes are ``start`` to ``end`` (exclusive) of the file."""

    table: Table
    rows: int
    start: int
    end: int


class Damage(msgspec.Struct, frozen=True):
    """Why the valid prefix of a segment ends at ``offset`` before the file does.

    ``torn``: the file ends in the middle of a record, as a write leaves it that a crash has cut off; nothing that was
    safe is lost. Else the bytes are there and are not what was written, or the file is of another kind.
    """

    offset: int
    reason: str
    torn: bool


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SpoolRecord).decode
_decode_proof = msgspec.msgpack.Decoder(_Proof).decode


def encode(record: SpoolRecord, link: int) -> tuple[bytes, int]:
    """Return the bytes of a record that follows the one whose checksum is ``link``, and its own checksum.

    The first record of a segment follows ``FIRST_LINK``.
    """
    body = _encode(record)
    if len(body) > BODY_MAX_BYTES:
        raise ValueError(f"a record of {len(body)} bytes: the limit is {BODY_MAX_BYTES}")
    rows, code = len(record.rows), _CODES[record.table]
    own = _checksum(link, len(body), rows, code, body)
    return _FRAME.pack(len(body), own, rows, code) + body, own


def decode(data: bytes, framed: Framed) -> SpoolRecord:
    """Return the record at a place that ``scan`` has found valid in ``data``."""
    return _decode(memoryview(data)[framed.start + _FRAME.size : framed.end])


def proven(data: bytes, framed: Framed) -> tuple[Covered, ...]:
    """Return what the record at a valid place proves, without looking at its rows."""
    return _decode_proof(memoryview(data)[framed.start + _FRAME.size : framed.end]).covered


def next_frame(data: bytes) -> tuple[Table, int, int] | None:
    """Return table, rows and the bytes that follow of the record whose frame ``data`` is; None when it is none.

    Its body is not looked at: a count for whoever must be quick. ``FRAME_BYTES`` are a frame.
    """
    if len(data) < FRAME_BYTES:
        return None
    length, _, rows, code = _FRAME.unpack_from(data)
    if length > BODY_MAX_BYTES or code not in _TABLES:
        return None
    return _TABLES[code], rows, length


def scan(data: bytes) -> tuple[list[Framed], Damage | None]:
    """Return the valid records of a segment from its beginning, and what ended them (None: the end of the file)."""
    if data[: len(HEAD)] != HEAD:
        torn = HEAD.startswith(data)
        return [], Damage(0, "the file's head is cut off" if torn else "not a spool segment of this version", torn)
    found: list[Framed] = []
    view = memoryview(data)
    offset, link = len(HEAD), FIRST_LINK
    while offset < len(data):
        rest = len(data) - offset - _FRAME.size
        if rest < 0:
            return found, Damage(offset, "the file ends within a record's frame", torn=True)
        length, said, rows, code = _FRAME.unpack_from(data, offset)
        if length > BODY_MAX_BYTES or code not in _TABLES:
            # blocks that were never written read as zeros
            return found, Damage(offset, "no record begins here", torn=not any(view[offset:]))
        if length > rest:
            return found, Damage(offset, f"the file ends within a record: {rest} of {length} bytes", torn=True)
        body = offset + _FRAME.size
        own = _checksum(link, length, rows, code, view[body : body + length])
        if own != said:
            return found, Damage(offset, "a record's checksum is wrong", torn=False)
        found.append(Framed(_TABLES[code], rows, offset, body + length))
        offset, link = body + length, own
    return found, None


def _checksum(link: int, length: int, rows: int, code: int, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(_CHECKED.pack(length, rows, code), link))
