"""What a person wants to record, and the exchange's names for it.

The exchange acknowledges an unknown or wrong-case stream name and then stays silent for ever, so every name is
checked here, before anything is subscribed, and a wrong one is refused together with the nearest right ones.
"""

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from crypto_quant.binance.venues import StreamKind, VenueSpec
from crypto_quant.errors import ConfigError
from crypto_quant.market import Timeframe, fold_symbol, wire_symbol
from crypto_quant.words import without_passwords

_TRADING = "TRADING"
# kinds of stream that the exchange has and this program does not record
_NOT_RECORDED = (
    "trade", "blockTrade", "depth", "rpiDepth", "bookTicker", "miniTicker", "ticker", "avgPrice", "markPrice",
    "indexPrice", "forceOrder", "continuousKline", "referencePrice",
)  # fmt: skip
_MOST_SUGGESTIONS = 5


class Stream(msgspec.Struct, frozen=True):
    """A kind of stream that can be asked for of any symbol; ``timeframe`` is None unless it is a kline."""

    kind: StreamKind
    timeframe: Timeframe | None = None

    def __str__(self) -> str:
        return self.kind.value if self.timeframe is None else f"{self.kind.value}_{self.timeframe.value}"


def available_streams(spec: VenueSpec) -> list[Stream]:
    """Return every stream that can be recorded on a venue."""
    streams: list[Stream] = []
    for kind in spec.stream_kinds:
        if kind is StreamKind.KLINE:
            streams.extend(Stream(kind, timeframe) for timeframe in spec.timeframes)
        else:
            streams.append(Stream(kind))
    return streams


def parse_stream(text: str, spec: VenueSpec) -> Stream:
    """Return the stream of that exact name (``aggTrade``, ``kline_5m``).

    Raises ConfigError with the nearest names when the venue has none of that name; case matters to the exchange
    (``kline_1m`` is a minute, ``kline_1M`` a month).
    """
    valid = {str(stream): stream for stream in available_streams(spec)}
    if text in valid:
        return valid[text]
    subject = repr(text)
    everywhere = {str(Stream(StreamKind.KLINE, timeframe)) for timeframe in Timeframe}
    if text in everywhere:
        raise ConfigError(
            f"venue {spec.venue.value} has no such stream", subject=subject, hint=f"It has {', '.join(valid)}"
        )
    same_letters = [name for name in valid if name.lower() == text.lower()]
    # `depth20@100ms` and `ticker_1h` are asked for by their first word
    word = text.partition("@")[0].partition("_")[0].rstrip("0123456789")
    if not same_letters and word in _NOT_RECORDED:
        raise ConfigError(
            "this program does not record that stream", subject=subject, hint=f"It records {', '.join(valid)}"
        )
    near = same_letters or difflib.get_close_matches(text, valid, n=_MOST_SUGGESTIONS, cutoff=0.5)
    hint = f"Did you mean {_any_of(near)}? Case matters" if near else f"One of: {', '.join(valid)} (case matters)"
    raise ConfigError("unknown stream", subject=subject, hint=hint)


def check_symbols(symbols: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Return the symbols as they are stored, in the order given and each once; any ASCII case is accepted.

    ``known`` maps the exchange's symbols to their status. Raises ConfigError that names every symbol which the
    exchange does not list, each with the nearest ones that it does. One that is listed but does not trade is
    accepted (see ``not_trading``): it may trade again while we record.
    """
    if not symbols:
        raise ConfigError("no symbol given", hint="Name at least one, for example btcusdt")
    for text in symbols:
        refuse_impossible(text, known)
    unknown = [text for text in dict.fromkeys(symbols) if wire_symbol(text) not in known]
    if unknown:
        hints = [f"For {text} did you mean {_any_of(near)}?" for text in unknown if (near := _nearest(text, known))]
        raise ConfigError(
            "unknown symbol" if len(unknown) == 1 else "unknown symbols",
            subject=", ".join(unknown),
            hint=" ".join(hints) if hints else f"The exchange lists {len(known)} symbols and none is alike",
        )
    return list(dict.fromkeys(fold_symbol(text) for text in symbols))


def not_trading(symbols: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return those of the (stored) symbols that do not trade now, with the status the exchange gives them."""
    found = ((symbol, known[wire_symbol(symbol)]) for symbol in symbols)
    return {symbol: status for symbol, status in found if status != _TRADING}


def stream_name(symbol: str, stream: Stream) -> str:
    """Return the exchange's name of one symbol's stream: ``btcusdt@kline_5m``."""
    return f"{fold_symbol(symbol)}@{stream}"


def plan_links(names: Sequence[str], per_link: int) -> list[tuple[str, ...]]:
    """Return the streams of each link: as few links as ``per_link`` permits, of nearly equal size, in order.

    Names given twice are taken once.
    """
    if per_link < 1:
        raise ValueError("a link carries at least one stream")
    unique = list(dict.fromkeys(names))
    links = -(-len(unique) // per_link)
    plan: list[tuple[str, ...]] = []
    start = 0
    for link in range(links):
        end = len(unique) * (link + 1) // links
        plan.append(tuple(unique[start:end]))
        start = end
    return plan


def link_url(base_url: str, spec: VenueSpec) -> str:
    """Return the URL to connect to, without stream names: these are subscribed once the link is up.

    ``base_url`` is host, port and perhaps a path before the exchange's own. Raises ConfigError when it is no
    WebSocket URL.
    """
    base = _checked_base(base_url, ("ws", "wss"), "WebSocket")
    if base.endswith(("/ws", "/stream")):
        hint = f"Leave {base[base.rindex('/') :]} away; the path is added"
        raise ConfigError("not a base WebSocket URL", subject=without_passwords(base_url), hint=hint)
    return f"{base}{spec.stream_path}{'?timeUnit=MICROSECOND' if spec.microseconds else ''}"


def rest_base(url: str) -> str:
    """Return a REST base URL without a slash at its end. Raises ConfigError when it is no HTTP URL."""
    return _checked_base(url, ("http", "https"), "REST")


def archive_base(url: str) -> str:
    """Return the archive's base URL without a slash at its end. Raises ConfigError when it is no HTTP URL."""
    return _checked_base(url, ("http", "https"), "archive")


def _checked_base(url: str, schemes: tuple[str, str], what: str) -> str:
    hint = f"Expected {schemes[0]}://HOST[:PORT] or {schemes[1]}://HOST[:PORT]"
    problem = ConfigError(f"not a {what} URL", subject=repr(without_passwords(url)), hint=hint)
    if any(c.isspace() or not c.isprintable() for c in url):
        raise problem
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no number or out of range
    except ValueError:
        raise problem from None
    if parts.scheme not in schemes or not parts.hostname or parts.query or parts.fragment:
        raise problem
    return url.rstrip("/?#")


def refuse_impossible(text: str, known: Mapping[str, str] | None = None) -> None:
    """Raise ConfigError for what can be no symbol of any exchange, with the nearest that is ``known``."""
    # these would break a stream's name or a URL, or stand for something else (`BTC/USDT`, `btcusdt@trade`)
    bad = [c for c in text if c.isspace() or c in "/@" or unicodedata.category(c).startswith("C")]
    if text and not bad:
        return
    near = _nearest("".join(c for c in text if c.isalnum()), known or {})
    hint = f"Did you mean {_any_of(near)}?" if near else "Write it as the exchange does, for example btcusdt"
    raise ConfigError("not a symbol", subject=repr(text), hint=hint)


def _nearest(text: str, known: Mapping[str, str]) -> list[str]:
    wire = wire_symbol(text)
    if wire in known:
        return [fold_symbol(wire)]
    # `BTC` and `BTC-USDT` are how people write; letters alone and the most traded quotes come first
    letters = "".join(c for c in wire if c.isalnum())
    likely = [name for name in (letters, *(letters + quote for quote in ("USDT", "USDC", "USD_PERP"))) if name in known]
    close = difflib.get_close_matches(wire, known, n=3, cutoff=0.6)
    return [fold_symbol(name) for name in dict.fromkeys((*likely, *close))][:3]


def _any_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
