"""`mythos-gate log`: the log's keys, and its sequencer where it runs alone."""

from typing import Annotated, Any

import typer

from mythos_gate import sequencing
from mythos_gate.registry import log_keys
from mythos_gate.registry.change import Registry
from mythos_gate.settings import Settings
from mythos_gate.terminal import LOCAL, told, with_registry

app = typer.Typer(no_args_is_help=True, help="The log: its tree, keys and proofs.")


@app.command("sequence")
def sequence() -> None:
    """Take entries into the tree and sign its heads, until stopped; `serve` does it too, unless --no-sequencer."""
    with told():
        sequencing.run(Settings())


@app.command("keys")
def list_keys() -> None:
    """List the public keys of the log. Give those without an end to whoever verifies."""

    async def work(registry: Registry) -> list[dict[str, Any]]:
        async with registry.engine.connect() as connection:
            return await log_keys.page(connection)

    with told():
        for key in with_registry(Settings(), work):
            until = f", until {key['retired']}" if key["retired"] else ""
            typer.echo(f"{key['verifier']}  since {key['created']}{until}")


@app.command("add-key")
def add_key() -> None:
    """Make a further key that signs the log from now on, and announce it in the log: the first half of a rotation."""
    settings = Settings()
    with told():
        made = sequencing.make_key(settings)
        with_registry(settings, sequencing.announce(settings, LOCAL))
    typer.echo(made)


@app.command("retire-key")
def retire_key(verifier: Annotated[str, typer.Argument(help="as `log keys` shows it")]) -> None:
    """End a key: its file is deleted, which the log announces. There must be another one."""
    settings = Settings()

    async def work(registry: Registry) -> None:
        async with registry.change("log_key_retired", LOCAL) as change:
            await log_keys.retire(change, verifier)

    with told():
        path = sequencing.file_of(settings, verifier)
        with_registry(settings, work)
        path.unlink()
    typer.echo(f"{verifier} signs no more")
