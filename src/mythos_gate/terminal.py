"""What every command shares: how a failure is told, and work as the registry."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import SQLAlchemyError

from mythos_gate import db
from mythos_gate.authn import api_keys, caller
from mythos_gate.authn.permissions import Permissions
from mythos_gate.db import DbRole
from mythos_gate.errors import GateError
from mythos_gate.registry.change import Registry
from mythos_gate.settings import Settings, root
from mythos_gate.terms import Permission

T = TypeVar("T")
LOCAL = "local operator"
Key = Annotated[str, typer.Option("--key", envvar="MYTHOS_GATE_KEY", help="your API key", show_default=False)]


def progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def told() -> Iterator[None]:
    """What could not be done is told in one message and exit code 1, not as a traceback."""
    try:
        yield
    except (GateError, SQLAlchemyError, OSError) as error:
        unmigrated = isinstance(error, SQLAlchemyError) and "does not exist" in str(error)
        typer.echo(f"mythos-gate: {error}{': run `mythos-gate db upgrade` first' if unmigrated else ''}", err=True)
        raise typer.Exit(1) from error


def with_registry(settings: Settings, work: Callable[[Registry], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = db.engine(db.role_urls(settings)[DbRole.COMPLIANCE], DbRole.COMPLIANCE, pool_size=2)
        try:
            return await work(Registry(engine, settings.origin))
        finally:
            await engine.dispose()

    return asyncio.run(run())


async def authenticated(registry: Registry, key: str) -> tuple[api_keys.Caller, Permissions]:
    """Whose key it is, and what says what they may. `NotAuthenticated`."""
    async with registry.engine.connect() as connection:
        found = await caller.authenticate(connection, api_keys.parse(key))
    return found, Permissions(root() / "policies" / "admin.csv")


async def allowed(registry: Registry, key: str, permission: Permission) -> api_keys.Caller:
    """Whose key it is, if they may. `NotAuthenticated`, `NotPermitted`."""
    found, permissions = await authenticated(registry, key)
    permissions.require(found, permission)
    return found
