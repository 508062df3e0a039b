"""One unit of work of the administration: its writes, its log entry, its commit."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mythos_gate import db, revision
from mythos_gate.audit.entry import REGISTRY_PLACE, VERSION, template, uuid7
from mythos_gate.errors import NotRecorded


@dataclass(slots=True)
class Change:
    """Writes go through `connection`; what happened goes into `details`, which become the entry's members.

    There is an entry for each of `parts`, where there are any, and `details` are in all of them.
    """

    connection: AsyncConnection
    type: str
    actor: str
    details: dict[str, Any] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)

    def part(self) -> None:
        """What was told so far is an entry of its own."""
        self.parts.append(dict(self.details))
        self.details.clear()

    def forget(self) -> None:
        """What was told so far was undone."""
        self.details.clear()
        self.parts.clear()


@contextmanager
def written() -> Iterator[None]:
    """`NotRecorded` if the database fails: its error shows the row, and with it nationalities, so it does not go on."""
    try:
        yield
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        raise NotRecorded(f"the change could not be written (SQLSTATE {state})") from None
    except (SQLAlchemyError, OSError):
        raise NotRecorded("the change could not be written") from None


@dataclass
class Registry:
    """Where changes are made: a pool of the role that may make them, and the log's name."""

    engine: AsyncEngine
    origin: str

    def confine(self, organization: str) -> None:
        """From now on nothing is read or written but what is this organization's: the database holds it."""
        self.engine = db.confined(self.engine, organization)

    def spare_nationality(self) -> None:
        """From now on what compliance alone may see is out of reach."""
        self.engine = db.without_nationality(self.engine)

    @asynccontextmanager
    async def change(self, kind: str, actor: str, *, dry: bool = False) -> AsyncIterator[Change]:
        """Commit on a clean exit, together with a bump of the revision and an entry of type `kind`; else nothing.

        With `dry` nothing in any case. `NotRecorded` if the database fails.
        """
        with written():
            async with self.engine.connect() as connection:
                change = Change(connection, kind, actor)
                yield change
                if not dry:
                    await self.commit(change)

    async def commit(self, change: Change) -> None:
        """The end of the change: its entries, and COMMIT. `NotRecorded`."""
        entries = [self._entry(change, change.details | part) for part in change.parts or [{}]]
        await revision.commit(change.connection, change.type, entries)

    def _entry(self, change: Change, details: dict[str, Any]) -> tuple[UUID, tuple[str, ...]]:
        identifier = uuid7(datetime.now(UTC), secrets.token_bytes(10))
        members = {
            "v": VERSION,
            "log": self.origin,
            "type": change.type,
            "id": identifier,
            "writer": "registry",
            "salt": secrets.token_hex(16),
            "actor": change.actor,
            **details,
        }
        return UUID(identifier), tuple(template(members, REGISTRY_PLACE))
