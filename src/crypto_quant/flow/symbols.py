"""Which symbols are recorded: as the exchange lists them, or begun on what is known while it cannot be asked."""

import asyncio
import math
from collections.abc import Callable, Collection, Sequence

from crypto_quant import events
from crypto_quant.binance.history import ExchangeInfo
from crypto_quant.binance.streams import check_symbols, not_trading, refuse_impossible
from crypto_quant.config import Settings
from crypto_quant.errors import ConfigError, CryptoQuantError, ExchangeUnavailable, RetryableError, Throttled
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import fold_symbol
from crypto_quant.seams import Emit

# A start waits so long at most for REST that asks for a pause. Links need no REST: a recorder records meanwhile.
START_PATIENCE_S = 5.0
_START_TRIES = 4
_FIRST_PAUSE_S = 5.0
_LAST_PAUSE_S = 300.0


async def known_symbols(
    settings: Settings,
    rest: ExchangeRest,
    emit: Emit,
    patience_s: float = math.inf,
    *,
    hear: Callable[[ExchangeInfo], None] = lambda _info: None,
) -> tuple[list[str], int]:
    """Return the symbols as stored, checked against the exchange, and the exchange's time (0: unknown).

    ``hear`` is given what the exchange said. Without the check it is not asked.
    Raises ConfigError for unknown symbols, ExchangeUnavailable when REST cannot be asked, and Throttled when it wants
    a pause of more than ``patience_s``.
    """
    if not settings.check_symbols:
        return _folded(settings.symbols), 0
    try:
        info = await rest.insist("exchangeInfo", rest.exchange_info, _START_TRIES, patience_s)
    except (ExchangeUnavailable, Throttled) as problem:
        remedy = "The symbols cannot be checked. Mend --rest-url, or record them unchecked with --no-check-symbols"
        problem.hint = f"{problem.hint}. {remedy}" if problem.hint else remedy
        raise
    hear(info)
    symbols = check_symbols(settings.symbols, info.symbols)
    for symbol, status in not_trading(symbols, info.symbols).items():
        emit(events.SymbolNotTrading(symbol=symbol, status=status))
    return symbols, info.server_time_ns


def unchecked_symbols(
    settings: Settings, recorded: Collection[str], problem: ExchangeUnavailable | Throttled, emit: Emit
) -> list[str]:
    """Return the symbols to begin with though ``problem`` kept the exchange from being asked; what that is, is told.

    The exchange that asks for a pause is the right one, so all are recorded at once. Where nothing answered, those
    must be among the ``recorded`` ones, else ``problem`` is raised: the URL may be wrong. Raises ConfigError for what
    can be no symbol.
    """
    for text in settings.symbols:
        refuse_impossible(text)
    symbols = _folded(settings.symbols)
    unknown = [symbol for symbol in symbols if symbol not in recorded]
    if unknown and not isinstance(problem, Throttled):
        raise problem
    emit(
        events.SymbolsUnchecked(
            symbols=len(symbols),
            new=", ".join(unknown),
            cause=f"{problem.what}: {problem.subject}",
            retry_in_s=problem.retry_after_s if isinstance(problem, Throttled) else _FIRST_PAUSE_S,
        )
    )
    return symbols


class SymbolCheck:
    """Makes up for the check that a start had to do without, as soon as the exchange can be asked."""

    def __init__(self, symbols: Sequence[str], rest: ExchangeRest, emit: Emit) -> None:
        self._symbols = symbols
        self._rest = rest
        self._emit = emit

    async def run(self) -> None:
        """Ask until there is an answer, and tell what it says of the symbols; return when that is done."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                # during a ban this waits for its end: nothing is asked of the exchange before
                info = await self._rest.exchange_info()
            except RetryableError as problem:
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)
                self._emit(events.RestFailed(request="exchangeInfo", cause=str(problem), retry_in_s=pause_s))
            except CryptoQuantError as problem:
                self._emit(events.RestFailed(request="exchangeInfo", cause=str(problem), retry_in_s=None))
                return
            else:
                break
        try:
            check_symbols(self._symbols, info.symbols)
        except ConfigError as problem:
            self._emit(events.SymbolsUnknown(symbols=problem.subject, hint=problem.hint))
        else:
            self._emit(events.SymbolsChecked(symbols=len(self._symbols)))
        listed = [symbol for symbol in self._symbols if symbol.upper() in info.symbols]
        for symbol, status in not_trading(listed, info.symbols).items():
            self._emit(events.SymbolNotTrading(symbol=symbol, status=status))


def _folded(symbols: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(fold_symbol(symbol) for symbol in symbols))
