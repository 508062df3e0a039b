"""Orders: what one officer sets on a target at once, and two lift: stops and legal holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict, NotFound
from mythos_gate.registry import standing
from mythos_gate.registry.change import Change
from mythos_gate.terms import RequestedAction

SHOWN = (
    "SELECT * FROM ({}) o WHERE"
    " (CAST(:only AS text) = id OR CAST(:only AS text) IS NULL AND (lifted_at IS NOT NULL) = :lifted)"
    " AND id > :after ORDER BY id LIMIT :limit"
)
STANDING = (
    "SELECT id FROM ({}) o WHERE lifted_at IS NULL AND scope = :scope"
    " AND target IS NOT DISTINCT FROM CAST(:target AS text) AND {about} IS NOT DISTINCT FROM CAST(:{about} AS text)"
)


@dataclass(frozen=True, slots=True)
class Orders:
    """A kind of them. `named`: SQL that gives each with its scope and its target's name; `about`: why it stands."""

    noun: str
    table: Table
    named: str
    about: str

    async def page(
        self,
        connection: AsyncConnection,
        *,
        lifted: bool = False,
        after: str | None = None,
        limit: int = 1,
        only: str | None = None,
    ) -> list[dict[str, Any]]:
        """In the order of their ids, each with the name of its target."""
        values = {"lifted": lifted, "after": after or "", "limit": limit, "only": only}
        rows = (await connection.execute(text(SHOWN.format(self.named)), values)).mappings()
        return [
            {**row, **{name: row[name] and timestamp(row[name]) for name in ("since", "lifted_at")}} for row in rows
        ]

    async def read(self, connection: AsyncConnection, identifier: str) -> dict[str, Any]:
        """`NotFound` if there is none."""
        found = await self.page(connection, only=identifier)
        if not found:
            raise self._none
        return found[0]

    async def withdraw_lifts(self, change: Change, wanted: Mapping[str, Any], caller: Caller) -> str | None:
        """What was requested before this order is no answer to it. The id of one that stands, if it was to end."""
        query = text(STANDING.format(self.named, about=self.about))
        there: str | None = (await change.connection.execute(query, wanted)).scalars().first()
        if there is None or not await standing.withdraw(change, there, RequestedAction.LIFT, caller):
            return None
        return there

    async def lift(self, change: Change, identifier: str) -> None:
        """`NotFound`, or `Conflict` if it was lifted before."""
        columns = self.table.c
        lifted = update(self.table).where(columns.id == identifier, columns.lifted_at.is_(None))
        done = await change.connection.execute(lifted.values(lifted_at=func.clock_timestamp()).returning(columns.id))
        if done.one_or_none() is None:
            known = select(columns.id).where(columns.id == identifier)
            if (await change.connection.execute(known)).one_or_none() is None:
                raise self._none
            raise Conflict(f"the {self._told} was lifted before: nothing further is possible")
        change.details |= {self.noun: identifier}

    @property
    def _told(self) -> str:
        return self.noun.replace("_", " ")

    @property
    def _none(self) -> NotFound:
        return NotFound(f"no such {self._told}")
