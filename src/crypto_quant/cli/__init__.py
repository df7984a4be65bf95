"""The command line: one verb a file, loaded only when it is called.

Exit codes: 0 ok, 1 failure, 2 usage or configuration, 3 the audit found holes, 130 interrupted.
Results go to stdout, logs and progress to stderr.
"""

import importlib
import sys

import click
from click.exceptions import NoSuchCommand
from click.shell_completion import CompletionItem

from crypto_quant.cli.output import take_over
from crypto_quant.errors import CryptoQuantError

# verb -> module that holds a click command of the same name, or of the one behind the colon
VERBS = {
    "backfill": "crypto_quant.cli.backfill",
    "candles": "crypto_quant.cli.candles",
    "completion": "crypto_quant.cli.completion",
    "config": "crypto_quant.cli.config",
    "db": "crypto_quant.cli.db",
    "demo": "crypto_quant.cli.demo",
    "doctor": "crypto_quant.cli.doctor",
    "export": "crypto_quant.cli.export",
    "import": "crypto_quant.cli.bring_in:bring_in",
    "init": "crypto_quant.cli.init",
    "query": "crypto_quant.cli.query",
    "record": "crypto_quant.cli.record",
    "repair": "crypto_quant.cli.repair",
    "seal": "crypto_quant.cli.seal",
    "serve": "crypto_quant.cli.serve",
    "sim": "crypto_quant.cli.sim",
    "simulate": "crypto_quant.cli.simulate",
    "status": "crypto_quant.cli.status",
    "verify": "crypto_quant.cli.verify",
}


class _LazyVerbs(click.Group):
    """A group that imports a verb's module when the verb is used: no other verb waits for it, nor does a shell."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name or cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise NoSuchCommand(args[0], possibilities=VERBS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # by their names alone: what click asks of each verb besides would import them all
        verbs = [CompletionItem(verb) for verb in self.list_commands(ctx) if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=_LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crypto-quant", prog_name="crypto-quant")
def crypto_quant() -> None:
    """Record an exchange's market data into TimescaleDB/PostgreSQL: exact, complete, provable."""


def main() -> None:
    """Run the command line; turn our errors into one clear line and an exit code, never a traceback."""
    take_over()
    try:
        # Outside its standalone mode click returns the code of an Exit instead of raising it.
        code = crypto_quant.main(prog_name="crypto-quant", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except CryptoQuantError as problem:
        click.echo(f"crypto-quant: {problem}", err=True)
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
