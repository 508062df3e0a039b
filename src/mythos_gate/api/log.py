"""The log over REST: one decision as its caller may see it, and all entries for auditors."""

import base64
import binascii
import json
import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.api.deps import MayReadDecisions, MayReadLog, TheGate, read_only
from mythos_gate.audit import reading
from mythos_gate.decision.policy import Reason, parse_reasons
from mythos_gate.errors import Invalid, NotFound
from mythos_gate.tables import policy_revisions
from mythos_gate.terms import Permission

router = APIRouter(prefix="/v1", tags=["log"])
PLACE = re.compile(r"(\S{10,40}) ([a-z0-9-]{1,40}) ([0-9]{1,18})")  # at, writer, n


@router.get("/decisions/{decision}")
async def read_decision(decision: UUID, gate: TheGate, caller: MayReadDecisions) -> dict[str, Any]:
    """A decision. Facts, rows and all codes only for those who may see them; others see their own decisions."""
    async with read_only(gate) as connection:
        entry = await reading.find(connection, decision, "decision")
        explained = gate.permissions.has(caller, Permission.EXPLAIN)
        if entry is None or not (explained or entry["caller"]["id"] == caller.id):
            raise NotFound("no such decision")
        if explained:
            return entry
        return _safe(entry, await _reasons(connection, entry["policy"]["sha256"]))


def _safe(entry: dict[str, Any], reasons: dict[str, Reason]) -> dict[str, Any]:
    reason = reasons[entry["reasons"][0]]
    return {
        "id": entry["id"],
        "at": entry["at"],
        "outcome": entry["outcome"],
        "policy_revision": entry["policy"]["revision"],
        "reason_user": {"code": reason.subject_sees, "message": reason.message},
    }


async def _reasons(connection: AsyncConnection, sha256: str) -> dict[str, Reason]:
    query = select(policy_revisions.c.files).where(policy_revisions.c.sha256 == sha256)
    files = (await connection.execute(query)).scalar_one()
    return parse_reasons(files["reasons.csv"], files["messages.csv"])


@router.get("/log/entries")
async def list_entries(
    gate: TheGate,
    caller: MayReadLog,  # noqa: ARG001  the signature says who may call
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    type: Annotated[str | None, Query(max_length=64, pattern="^[a-z_]+$")] = None,  # noqa: A002  the entry's own name
) -> dict[str, Any]:
    """Entries, oldest first: `stored` is the text whose UTF-8 bytes the leaf hash covers, `body` the same, parsed.

    `next` is null on the last page.
    """
    async with read_only(gate) as connection:
        rows = await reading.page(connection, limit + 1, _place(cursor), type)
    shown = [{"leaf": leaf.hex(), "stored": body.decode(), "body": json.loads(body)} for _, leaf, body in rows[:limit]]
    return {"items": shown, "next": _cursor(rows[limit - 1][0]) if len(rows) > limit else None}


def _cursor(place: reading.Place) -> str:
    at, writer, n = place
    return base64.urlsafe_b64encode(f"{at.isoformat()} {writer} {n}".encode()).decode()


def _place(cursor: str | None) -> reading.Place | None:
    if cursor is None:
        return None
    try:
        if place := PLACE.fullmatch(base64.urlsafe_b64decode(cursor).decode()):
            at, writer, n = place.groups()
            return datetime.fromisoformat(at), writer, int(n)
    except (ValueError, binascii.Error):
        pass
    raise Invalid("cursor: not one that this list gave out")
