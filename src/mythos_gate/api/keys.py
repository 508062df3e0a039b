"""Keys over REST: whose they are, and revoking one that was lost. They are made at the command line."""

from operator import itemgetter
from typing import Any

from fastapi import APIRouter

from mythos_gate.api.deps import MayOperate, TheGate, reading
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import callers

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=Once)


@router.get("")
async def list_keys(
    gate: TheGate,
    caller: MayOperate,  # noqa: ARG001  the signature says who may call
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """Every key with its caller; never the key itself."""
    async with reading(gate.registry.engine) as connection:
        found = await callers.page(connection, cursor, limit + 1)
    return paged(found, limit, itemgetter("id"))


@router.post("/{key}/revoke")
async def revoke_key(key: Name, gate: TheGate, caller: MayOperate) -> dict[str, str]:
    """From the next request on it is no key."""
    async with gate.registry.change("key_revoked", caller.id) as change:
        await callers.revoke_key(change, key)
    return {"id": key, "status": "revoked"}
