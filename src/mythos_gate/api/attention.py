"""What needs attention: for officers of the whole programme, for an organization's administrator of its staff."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from mythos_gate.api.deps import MayReadAttention, TheGate, read_only, reading
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.text import Text
from mythos_gate.errors import Invalid
from mythos_gate.registry import attention
from mythos_gate.terms import Permission

router = APIRouter(prefix="/v1", tags=["attention"])
Days = Annotated[int, Query(ge=0, le=3650)]


@router.get("/attention")
async def list_attention(
    gate: TheGate,
    caller: MayReadAttention,
    within: Days = 30,
    overdue: Days = 365,
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """What falls due within so many days, or fell due in the last `overdue` days; the soonest first.

    To compliance also whose evidence ends, which is noted in the log.
    """
    now = gate.now
    assesses = gate.permissions.has(caller, Permission.ASSESS)
    # When evidence ends is on record with nationality, which the reader's role cannot see.
    async with reading(gate.registry.engine) if assesses else read_only(gate) as connection:
        found = await attention.due(
            connection,
            own=caller.organization_id,
            authority=caller.authority_id,
            assessments=assesses,
            since=now - timedelta(days=overdue),
            until=now + timedelta(days=within),
            after=_place(cursor),
            limit=limit + 1,
        )
    if assesses:  # whose evidence ends is no US person
        people = sum(item["kind"] == attention.EVIDENCE for item in found)
        await gate.log.note("nationality_read", {"actor": caller.id, "evidence": people})
    return paged(found, limit, lambda item: f"{item['due']} {item['kind']} {item['id']}")


def _place(cursor: str | None) -> tuple[datetime, str, str] | None:
    if cursor is None:
        return None
    try:
        at, kind, identifier = cursor.split(" ")
        return datetime.fromisoformat(at), kind, identifier
    except ValueError as error:
        raise Invalid("cursor: not one that this list gave out") from error
