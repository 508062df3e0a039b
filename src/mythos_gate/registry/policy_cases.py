"""Policy cases that officers add to those that ship: a draft that fails one is not put in force; two lift it."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import Row, Text, cast, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.errors import Conflict
from mythos_gate.registry.change import Change
from mythos_gate.registry.orders import Orders
from mythos_gate.tables import policy_cases as cases

ORDERS = Orders(
    "policy_case",
    cases,
    "SELECT id, name, sha256, added_by, created_at AS since, lifted_at FROM policy_cases",
    about="name",
)


async def add(change: Change, name: str, content: Mapping[str, Any]) -> str:
    """Its id. `Conflict` if one of this name stands. The caller has read it before."""
    digest = sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    row = {"name": name, "content": content, "sha256": digest, "added_by": change.actor}
    made = insert(cases).values(id=f"cas_{uuid.uuid4().hex}", **row).on_conflict_do_nothing().returning(cases.c.id)
    identifier: str | None = (await change.connection.execute(made)).scalar_one_or_none()
    if identifier is None:
        raise Conflict("policy cases of this name stand: give these another, or have those lifted")
    change.details |= {"policy_case": identifier, "case_sha256": digest}
    return identifier


async def content(connection: AsyncConnection, identifier: str) -> dict[str, Any]:
    """Of one that is on record."""
    return dict((await connection.execute(select(cases.c.content).where(cases.c.id == identifier))).scalar_one())


async def standing(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Each with its name, its SHA-256 and its content, the text of a file of cases."""
    # As text: what was a large number is an integer of any length to jsonb, which orjson does not write.
    content = cast(cases.c.content, Text).label("content")
    these = select(cases.c.name, cases.c.sha256, content).where(cases.c.lifted_at.is_(None))
    return (await connection.execute(these.order_by(cases.c.name))).all()


async def unchecked(connection: AsyncConnection, ran: Collection[str]) -> list[str]:
    """The names of those that stand, and whose SHA-256 a check does not name among what it ran."""
    these = select(cases.c.name).where(cases.c.lifted_at.is_(None), cases.c.sha256.not_in(ran))
    return list((await connection.execute(these.order_by(cases.c.name))).scalars())
