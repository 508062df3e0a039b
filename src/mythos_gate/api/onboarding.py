"""Onboarding over REST: an organization's people, agents and endpoints as files, in and out."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from mythos_gate.api import body
from mythos_gate.api.deps import TheGate, may, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.resources import writer
from mythos_gate.api.text import Text
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Invalid
from mythos_gate.registry import onboarding, resources
from mythos_gate.registry.resources import Resource

router = APIRouter(prefix="/v1", route_class=Once)


class Taken(BaseModel):
    """How many records were new, different, or as they were."""

    rows: int
    created: int
    updated: int
    unchanged: int


Columns = Annotated[Text | None, Query(description="those wanted, with commas between; else all that can be imported")]


def _add(resource: Resource) -> None:
    MayWrite = Annotated[Caller, Depends(may(resource.may_write))]  # noqa: N806  as in api.deps
    MayRead = Annotated[Caller, Depends(may(resource.may_read))]  # noqa: N806

    @router.post(
        f"/{resource.name}/import",
        openapi_extra=body.CSV,
        operation_id=f"import_{resource.name}",
        tags=[resource.name],
    )
    async def import_(request: Request, gate: TheGate, caller: MayWrite) -> Taken:
        """Take a CSV file as a whole or not at all; what is on record is updated."""
        data = await body.file(request)
        async with gate.registry.change("imported", caller.id) as change:
            done = await onboarding.take(change, resource, data, writer(gate, caller))
        return Taken(rows=done.rows, created=done.created, updated=done.updated, unchanged=done.unchanged)

    @router.get(
        f"/{resource.name}/export",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}}}},
        operation_id=f"export_{resource.name}",
        tags=[resource.name],
    )
    async def export(
        gate: TheGate, caller: MayRead, organization: Text | None = None, columns: Columns = None
    ) -> Response:
        """One organization's records as a file that can be imported again. It is noted in the log."""
        chosen = organization or caller.organization
        if chosen is None:
            raise Invalid("organization: must be there: name the one whose records are wanted")
        async with read_only(gate) as connection:
            exported = await onboarding.export(connection, resource, chosen, writer(gate, caller), columns)
        noted: dict[str, Any] = {"actor": caller.id, "kind": resource.name, "rows": exported.rows}
        await gate.log.note("exported", noted)
        named = {"Content-Disposition": f'attachment; filename="{resource.name}.csv"'}
        return Response(exported.data, media_type="text/csv; charset=utf-8", headers=named)


for each in resources.RESOURCES:
    if each.is_staff:
        _add(each)
