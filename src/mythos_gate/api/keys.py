"""Keys over REST: whose they are, revoking one that was lost, and requesting one, which a second officer approves."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from mythos_gate.api import body
from mythos_gate.api.deps import MayOperate, MayRunProgramme, TheGate, reading
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import requested
from mythos_gate.api.text import Instant, Name, Text
from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import Invalid
from mythos_gate.registry import callers, widening
from mythos_gate.terms import Role

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=Once)
Names = Annotated[list[Text], Field(min_length=1, max_length=1000)]


class NewKey(BaseModel):
    """Whose it is and what it may. `person` is who they are on record: without it they request and approve nothing."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[Text, Field(pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
    roles: Annotated[list[Role], Field(min_length=1)]
    service: StrictBool = False
    expires: Instant | None = None
    organization: Text | None = None
    models: Names | None = None
    organizations: Names | None = None
    authority: Text | None = None
    person: Text | None = None


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


@router.post("", status_code=202, openapi_extra=body.documented(NewKey))
async def request_key(
    request: Request, gate: TheGate, caller: MayRunProgramme, response: Response
) -> Mapping[str, Any]:
    """Request a key. `key` is shown this once, and opens nothing until a second officer approves the request."""
    given = body.shaped(NewKey, await body.parsed(request))
    if given.expires is not None and given.expires <= gate.now:
        raise Invalid("expires: is over: give a time to come")
    members = given.model_dump(mode="json") | {"expires": given.expires and timestamp(given.expires)}
    text, wanted = widening.new_key(members)
    return {**await requested(gate, caller, wanted, response), "key": text}


@router.post("/{key}/revoke")
async def revoke_key(key: Name, gate: TheGate, caller: MayOperate) -> dict[str, str]:
    """From the next request on it is no key."""
    async with gate.registry.change("key_revoked", caller.id) as change:
        await callers.revoke_key(change, key)
    return {"id": key, "status": "revoked"}
