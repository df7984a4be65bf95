"""``crypto-quant completion``: what a shell needs to complete verbs, options and their values."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that teaches SHELL to complete crypto-quant's verbs, options and their values.

    \b
    bash   eval "$(crypto-quant completion bash)"     in ~/.bashrc; bash 4.4 or newer
    zsh    eval "$(crypto-quant completion zsh)"      in ~/.zshrc, behind compinit
    fish   crypto-quant completion fish > ~/.config/fish/completions/crypto-quant.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has had all three since 8.0
    root = click.get_current_context().find_root().command
    # not source(), which for bash runs bash to complain of an old one
    script = found(root, {}, "crypto-quant", "_CRYPTO_QUANT_COMPLETE")
    click.echo(script.source_template % script.source_vars())
