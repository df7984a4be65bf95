"""What ``record`` and ``serve`` share: where watchers are answered, and with which token."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click
import msgspec

from crypto_quant import events
from crypto_quant.config import Settings
from crypto_quant.ops import board
from crypto_quant.ops.companion import Companion, Plan
from crypto_quant.ops.listening import address_of, listen, parse_address
from crypto_quant.seams import Emit
from crypto_quant.store.paths import data_dir


class Listeners(msgspec.Struct, frozen=True):
    """The sockets that were asked for, and the token of who looks at the page; they listen already."""

    page: socket.socket | None
    metrics: socket.socket | None
    token: str | None

    @property
    def all(self) -> list[socket.socket]:
        """Those that there are."""
        return [each for each in (self.page, self.metrics) if each is not None]

    def told(self) -> events.WatchingStarted:
        """Return what is said of them."""
        metrics = f"http://{address_of(self.metrics)}/metrics" if self.metrics is not None else ""
        return events.WatchingStarted(page=_page_url(self.page), metrics=metrics)


@contextmanager
def listening(settings: Settings) -> Iterator[Listeners]:
    """Lend the sockets that the settings ask for. Raises PortUnavailable and ConfigError when one cannot be had.

    A page that other machines can reach has a token; one that was made up is shown on stderr, once.
    """
    with ExitStack() as opened:
        page = metrics = None
        if settings.serve is not None:
            page = opened.enter_context(listen(*parse_address(settings.serve)))
        if settings.metrics_port is not None:
            metrics = opened.enter_context(listen(settings.metrics_host, settings.metrics_port))
        yield Listeners(page, metrics, _token(settings, page))


@contextmanager
def accompanied(settings: Settings, listeners: Listeners, emit: Emit) -> Iterator[None]:
    """Have a process of its own answer for the recorder that this process is, when anybody is to be answered."""
    if not listeners.all:
        yield
        return
    emit(listeners.told())
    mine = board.own_path(data_dir(settings) / board.DIRECTORY)
    with Companion(plan_of(settings, listeners, only=str(mine)), listeners.all, emit):
        yield


def plan_of(settings: Settings, listeners: Listeners, *, only: str | None = None) -> Plan:
    """Return what a watching process is told."""
    return Plan(
        directory=str(data_dir(settings) / board.DIRECTORY),
        only=only,
        database_url=settings.database_url,
        token=listeners.token,
        streams_max=settings.metrics_streams,
        log_level=settings.log_level,
        log_format=settings.log_format,
        page_socket=listeners.page.fileno() if listeners.page is not None else None,
        metrics_socket=listeners.metrics.fileno() if listeners.metrics is not None else None,
    )


def _token(settings: Settings, page: socket.socket | None) -> str | None:
    if page is None:
        return None
    from crypto_quant.web.access import checked_token, is_loopback, new_token  # noqa: PLC0415  # only where needed

    if settings.serve_token is not None:
        return checked_token(settings.serve_token)
    if is_loopback(page.getsockname()[0]):
        return None
    token = new_token()
    click.echo(
        f"Other machines can reach the page, so it asks for a token:\n  {_page_url(page)}?token={token}\n"
        "CRYPTO_QUANT_SERVE_TOKEN sets one that stays.",
        err=True,
    )
    return token


def _page_url(page: socket.socket | None) -> str:
    if page is None:
        return ""
    address = address_of(page)
    for every, name in (("0.0.0.0", socket.gethostname()), ("[::]", socket.gethostname())):  # noqa: S104
        if address.startswith(f"{every}:"):
            address = f"{name}{address[len(every) :]}"
    return f"http://{address}/"
