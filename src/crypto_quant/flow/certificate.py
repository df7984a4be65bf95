"""A statement that others can check: what an audit found, a digest of every symbol and day, and the SQL behind it.

The document carries its own SHA-256 (``sha256``): of its canonical JSON without that key, which is what
``jq -cjS 'del(.sha256)'`` prints. That guards against a change of the document; that it tells the truth about a
database is shown by making the digests again.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Digest, Reader
from crypto_quant.flow.audit import Progress, day_span
from crypto_quant.flow.report import Report
from crypto_quant.market import NS_PER_US, day_of, parse_utc

KIND = "crypto-quant certificate"
FORMAT = 2
# without the heads of the chains of seals
_OLDER = 1


def canonical_sha256(document: Mapping[str, Any]) -> str:
    """Return the hash of a document, its own ``sha256`` left out."""
    bare = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


async def certify(reader: Reader, report: Report, progress: Progress) -> dict[str, Any]:
    """Return the certificate of a deep audit."""
    digests = await _digests(reader, _bounds(report), progress)
    document: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "issued_at": report.checked_at,
        "version": report.version,
        "statement": report.to_json(),
        "digests": [msgspec.to_builtins(each) for each in digests if each.rows],
        "heads": [
            {
                "venue": each.venue,
                "symbol": each.symbol,
                "stream": each.stream,
                "number": each.number,
                "seal": each.seal,
                "sealed_until": each.sealed_until,
            }
            for each in report.seals
            if each.seals
        ],
        "sql": dict(reader.digest_sql),
        "how_to_check": "crypto-quant verify --against FILE; or psql with this SQL and the bounds of a"
        " digest as variables, see docs/verify.md",
    }
    document["sha256"] = canonical_sha256(document)
    return document


async def recheck(reader: Reader, document: Mapping[str, Any], progress: Progress) -> list[str]:
    """Return in words what of a certificate does not hold: empty when it is unaltered and the rows are the same.

    Raises ConfigError when this is no certificate, or one that was made with other SQL.
    """
    if (altered := check_document(document, reader.digest_sql)) is not None:
        return [altered]
    return [difference(then, now) for then, now in await compare(reader, document, progress) if then != now]


def check_document(document: Mapping[str, Any], sql: Mapping[str, str]) -> str | None:
    """Return how a certificate was altered; None: not at all.

    Raises ConfigError when this is no certificate, or one that was made with other SQL.
    """
    if document.get("kind") != KIND or document.get("format") not in {FORMAT, _OLDER}:
        raise ConfigError("not a certificate of this crypto-quant", hint=f'Expected "kind": "{KIND}", format {FORMAT}')
    if canonical_sha256(document) != document.get("sha256"):
        return "the certificate was altered: its sha256 is not that of its text"
    if document.get("sql") != dict(sql):
        raise ConfigError(
            "the certificate was made with other SQL than this crypto-quant has",
            hint=f"Check it with version {document.get('version')}, or with psql and the SQL that it carries",
        )
    return None


async def compare(reader: Reader, document: Mapping[str, Any], progress: Progress) -> list[tuple[Digest, Digest]]:
    """Return the digests of each series and day, as they were certified and as they are now. Raises ConfigError."""
    try:
        certified = msgspec.convert(document.get("digests"), list[Digest])
        for each in certified:
            date.fromisoformat(each.day)
    except (msgspec.ValidationError, ValueError) as problem:
        raise ConfigError("the certificate's digests cannot be read", hint=str(problem)) from problem
    return list(zip(_ordered(certified), await _digests(reader, certified, progress), strict=True))


def difference(then: Digest, now: Digest) -> str:
    """Return in words how the rows of a series and day differ from those that were certified."""
    what = f"{then.venue} {then.symbol} {then.timeframe or 'trades'} on {then.day}"
    if then.rows != now.rows:
        return f"{what}: {then.rows:,} rows were certified, there are {now.rows:,}"
    return f"{what}: the {now.rows:,} rows are not those that were certified"


def _bounds(report: Report) -> list[Digest]:
    """Return what is to be digested: each day of each series, between the first and the last row that was seen."""
    found = [
        Digest("trades", symbol.venue, symbol.symbol, "", day.day, day.first_id, day.last_id, 0, "")
        for symbol in report.symbols
        for day in symbol.days
    ]
    for series in report.candles:
        first, last = parse_utc(series.first_open), parse_utc(series.last_open)
        for number in range((day_of(last) - day_of(first)).days + 1):
            span = day_span(date.fromordinal(day_of(first).toordinal() + number))
            head = ("candles", series.venue, series.symbol, series.timeframe, day_of(span.start).isoformat())
            found.append(Digest(*head, span.start // NS_PER_US, min(span.end - 1, last) // NS_PER_US, 0, ""))
    return found


def _ordered(bounds: Iterable[Digest]) -> list[Digest]:
    return sorted(bounds, key=lambda each: (each.day, each.series, each.venue, each.symbol, each.timeframe))


async def _digests(reader: Reader, bounds: Sequence[Digest], progress: Progress) -> list[Digest]:
    """Return the digests of the bounds, ordered; one question a day and kind."""
    groups: dict[tuple[str, str], list[Digest]] = {}
    for each in _ordered(bounds):
        groups.setdefault((each.day, each.series), []).append(each)
    found = []
    for number, ((day, series), group) in enumerate(groups.items()):
        progress(f"digest of {series} {day}", number, len(groups))
        found += await reader.digests(day_span(date.fromisoformat(day)), group)
    return found
