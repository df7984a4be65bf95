"""``crypto-quant sim``: the recorder in a simulated world, by seeds."""

import shlex
import sys
import time
from typing import TYPE_CHECKING

import click

from crypto_quant.cli.bar import Bar, quiet_option
from crypto_quant.cli.options import FiniteRange

if TYPE_CHECKING:
    from crypto_quant.sim.world import Outcome


@click.command()
@quiet_option
@click.option("--seeds", default=100, show_default=True, type=click.IntRange(1), help="How many worlds to run.")
@click.option("--from", "first", default=0, show_default=True, type=click.IntRange(0), help="The first seed.")
@click.option("--seed", type=click.IntRange(0), help="Run this one seed alone.")
@click.option("--jobs", type=click.IntRange(1), help="Worlds at a time. [default: one a processor]")
@click.option("--trace", is_flag=True, help="Print everything that happens in the world; needs --seed.")
@click.option(
    "--hours", type=FiniteRange(0.01, 1000), help="Hours of faults in each world, instead of the minutes drawn."
)
def sim(*, seeds: int, first: int, seed: int | None, jobs: int | None, trace: bool, hours: float | None) -> None:
    """Run the real recorder in simulated worlds and check that it keeps its promise.

    A seed decides everything: the market, the recorder's settings, what fails when, and where the recorder is
    killed. Time is virtual, so hours pass in seconds, and a seed replays exactly. Exits with 1 when an invariant
    fails, and prints the command that replays it.
    """
    if trace and seed is None:
        raise click.UsageError("--trace needs --seed: a trace is the story of one world")
    from crypto_quant.sim.world import run, run_many  # noqa: PLC0415  # --help stays instant

    if seed is not None:
        outcome = run(seed, hours=hours, tell=click.echo if trace else None)
        click.echo(_story(outcome))
        if outcome.failure:
            sys.exit(1)
        return
    started = time.monotonic()
    failed: list[Outcome] = []
    total = [0.0, 0, 0, 0, 0, 0]
    outcomes = run_many(range(first, first + seeds), hours=hours, jobs=min(jobs, seeds) if jobs else None)
    bar = Bar("worlds")
    for done, outcome in enumerate(outcomes, start=1):
        total = [
            total[0] + outcome.seconds,
            total[1] + outcome.stored,
            total[2] + outcome.lives,
            total[3] + outcome.crashes,
            total[4] + outcome.spool.records,
            total[5] + outcome.spool.taken_over,
        ]
        if outcome.failure:
            failed.append(outcome)
            bar.stop()
            click.echo(f"{_story(outcome)}\n  replay: {_command(outcome.seed, hours)}")
        bar(done, seeds, f"{len(failed)} failed")
    bar.stop()
    click.echo(
        f"{seeds} worlds from seed {first}: {len(failed)} failed. {total[0] / 3600:.1f} hours of exchange time in "
        f"{time.monotonic() - started:.0f} s; {total[1]} trades stored, {total[2]} starts of the recorder, "
        f"{total[3]} crashes; {total[4]} records spooled, {total[5]} spools taken over."
    )
    if failed:
        sys.exit(1)


def _command(seed: int, hours: float | None) -> str:
    parts = ["crypto-quant", "sim", "--seed", str(seed), "--trace"]
    if hours is not None:
        parts[4:4] = ["--hours", f"{hours:g}"]
    return shlex.join(parts)


def _story(outcome: "Outcome") -> str:
    verdict = f"FAILED: {outcome.failure}" if outcome.failure else "every invariant held"
    return (
        f"seed {outcome.seed}: {verdict} ({outcome.seconds:.0f} s, {outcome.stored} trades stored, "
        f"{outcome.lives} starts, {outcome.crashes} crashes, digest {outcome.digest})"
    )
