"""``crypto-quant simulate``: the simulated exchange as a program."""

import asyncio
import ipaddress
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crypto_quant.cli.options import FiniteRange
from crypto_quant.errors import ConfigError
from crypto_quant.sim.capture import CaptureTape
from crypto_quant.sim.clock import parse_speed
from crypto_quant.sim.limits import Limits
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import first_names, invented
from crypto_quant.sim.synthetic import SyntheticTape

if TYPE_CHECKING:
    from crypto_quant.sim.tape import Tape


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--allow-remote", is_flag=True, help="Allow a --host that other machines can reach.")
@click.option(
    "--port", default=9443, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--symbols", "count", type=click.IntRange(1, 5000), help="Number of invented symbols. [default: 3]")
@click.option("--symbol", "names", multiple=True, help="A symbol by name; may be given many times.")
@click.option("--delisted", multiple=True, help="A symbol that is listed with status BREAK and never trades.")
@click.option("--rate", default=50.0, show_default=True, help="Raw trades a second over all symbols.")
@click.option("--seed", default=1, show_default=True, help="Seed of the synthetic market.")
@click.option("--start", help="Exchange time to start at: Unix ms, or 'now'. [default: now]")
@click.option(
    "--seconds",
    type=FiniteRange(0, min_open=True),
    help="End the synthetic tape after so many seconds. [default: endless]",
)
@click.option(
    "--lead", default=0.0, show_default=True, type=FiniteRange(0), help="Seconds of history REST has at the start."
)
@click.option("--tape", "files", multiple=True, type=click.Path(path_type=Path), help="A recorded capture to replay.")
@click.option("--speed", default="1", show_default=True, help="Exchange seconds per second, or 'max'.")
@click.option("--hold", is_flag=True, help="Hold the time until the first subscription.")
@click.option("--life", default=86400.0, show_default=True, type=FiniteRange(0.1), help="Life of a link, seconds.")
@click.option("--history", default=1_000_000, show_default=True, type=click.IntRange(1000), help="Prints REST keeps.")
def simulate(
    *,
    host: str,
    allow_remote: bool,
    port: int,
    count: int | None,
    names: tuple[str, ...],
    delisted: tuple[str, ...],
    rate: float,
    seed: int,
    start: str | None,
    seconds: float | None,
    lead: float,
    files: tuple[Path, ...],
    speed: str,
    hold: bool,
    life: float,
    history: int,
) -> None:
    """Run a simulated exchange that speaks Binance spot on one port, WebSocket and REST.

    It trades a synthetic market, or replays recorded captures (--tape). When it is ready, one JSON line with its
    URLs goes to stdout. Faults are commanded with POST /sim/faults (see docs/simulated-exchange.md).
    """
    _check_host(host, allow_remote)
    if files and (count or names or delisted or seconds is not None or start is not None):
        raise ConfigError("--tape brings its own symbols and times", hint="Leave out the synthetic market's options")
    if count and names:
        raise ConfigError("--symbols and --symbol exclude each other", hint="Give a number or names")
    pace = parse_speed(speed)
    tape: Tape
    if files:
        tape = CaptureTape.read(files)
    else:
        listings = invented(names or first_names(count or 3), delisted=delisted)
        start_us = _start_us(start) - int(lead * 1_000_000)
        tape = SyntheticTape(listings, rate=rate, seed=seed, start_us=start_us, seconds=seconds)
    exchange = SimulatedExchange(
        tape,
        speed=pace,
        host=host,
        port=port,
        hold_until_subscribed=hold,
        lead_s=lead,
        limits=Limits(life_s=life),
        history_limit=history,
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(exchange))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop  # noqa: PLC0415 - absent on Windows

    return uvloop.new_event_loop


async def _serve(exchange: SimulatedExchange) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with exchange:
        names = list(exchange.market.symbols)
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        click.echo(f"Simulated exchange of {shown}", err=True)
        click.echo(f"  streams  {exchange.ws_url}", err=True)
        click.echo(f"  REST     {exchange.rest_url}", err=True)
        click.echo("Ctrl-C ends it.", err=True)
        click.echo(json.dumps({"ws_url": exchange.ws_url, "rest_url": exchange.rest_url}))
        await exchange.until(ended)
    click.echo(f"Ended after {exchange.market.printed:,} trades.", err=True)


def _check_host(host: str, allow_remote: bool) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ConfigError("not an address to listen on", subject=repr(host), hint="An IP address") from None
    if not loopback and not allow_remote:
        raise ConfigError(
            "other machines could reach this address", subject=host, hint="Add --allow-remote if that is meant"
        )


def _start_us(text: str | None) -> int:
    if text is None or text == "now":
        return time.time_ns() // 1000
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ConfigError("not a start time", subject=repr(text), hint="Unix milliseconds, or now")
    return int(text) * 1000
