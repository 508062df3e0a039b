"""Policies and data sets by the hash of their content: what is loaded once never changes."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from mythos_gate import tables
from mythos_gate.audit.entry import canonical
from mythos_gate.decision import facts
from mythos_gate.decision.policy import Policy
from mythos_gate.errors import NotDecided
from mythos_gate.terms import Treatment

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

T = TypeVar("T")
MOST = 4  # of each
# Of these, in the order of codes, a data set's id is the hash.
CONTENT = [column.name for column in tables.jurisdictions.columns if column.name != "data_set_id"]


class Library:
    """What was loaded, by hash."""

    def __init__(self) -> None:
        self._policies: dict[str, Policy] = {}
        self._data_sets: dict[str, facts.Jurisdictions] = {}
        self._under_way: dict[str, asyncio.Future[Policy]] = {}

    async def policy(self, connection: Connection, sha256: str | None) -> Policy:
        """The active revision, built. `NotDecided` while it cannot be: never an older one."""
        if sha256 is None:
            raise NotDecided("no policy is active: run `mythos-gate policy activate`")
        if sha256 not in self._policies:
            files = await connection.fetchval("SELECT files FROM policy_revisions WHERE sha256 = $1", sha256)
            try:
                policy = await self._build(files)
            except Exception as error:
                raise NotDecided("the active policy cannot be loaded") from error
            if policy.sha256 != sha256:
                raise NotDecided("the active policy is not the one that its hash names")
            _keep(self._policies, sha256, policy)
        return self._policies[sha256]

    async def _build(self, files: str) -> Policy:
        """In a thread, so that others are answered meanwhile, and once for all who wait for it."""
        if files not in self._under_way:
            made = self._under_way[files] = asyncio.ensure_future(asyncio.to_thread(_built, files))
            made.add_done_callback(lambda _: self._under_way.pop(files))
        # Whoever has waited too long goes without the others.
        return await asyncio.shield(self._under_way[files])

    async def jurisdictions(self, connection: Connection, identifier: str | None) -> facts.Jurisdictions:
        """The data set in force; without one every country is unknown."""
        if identifier is None:
            return facts.Jurisdictions()
        if identifier not in self._data_sets:
            rows = await connection.fetch(
                f'SELECT {", ".join(CONTENT)} FROM jurisdictions WHERE data_set_id = $1 ORDER BY code COLLATE "C"',  # noqa: S608
                identifier,
            )
            if identifier != sha256(canonical([list(row) for row in rows])).hexdigest():
                raise NotDecided("the data set in force is not the one that its hash names")
            found = jurisdictions(rows)
            _keep(self._data_sets, identifier, found)
        return self._data_sets[identifier]


@lru_cache(MOST)
def _built(files: str) -> Policy:
    """It takes a while, and follows from the text alone."""
    return Policy(json.loads(files))


def jurisdictions(rows: Iterable[Mapping[str, Any] | asyncpg.Record]) -> facts.Jurisdictions:
    """Of the rows of a data set."""
    return facts.Jurisdictions(
        {
            row["code"]: facts.Jurisdiction(Treatment(row["treatment"]), frozenset(row["groups"]), row["inherits"])
            for row in rows
        }
    )


def _keep(loaded: dict[str, T], identifier: str, value: T) -> None:
    """The one in force, and those before it that may come back."""
    loaded[identifier] = value
    if len(loaded) > MOST:
        del loaded[next(iter(loaded))]
