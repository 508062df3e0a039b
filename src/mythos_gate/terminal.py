"""What every command shares: how a failure is told, and work as the registry."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import typer
from sqlalchemy.exc import SQLAlchemyError

from mythos_gate import db
from mythos_gate.db import DbRole
from mythos_gate.errors import GateError
from mythos_gate.registry.change import Registry
from mythos_gate.settings import Settings

T = TypeVar("T")
LOCAL = "local operator"


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
