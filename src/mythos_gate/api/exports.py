"""Exports of the log: a bundle that whoever holds the log's key verifies offline."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from mythos_gate.api import body
from mythos_gate.api.deps import MayReadLog, TheGate, read_only
from mythos_gate.api.log import Narrowed
from mythos_gate.audit import exporting
from mythos_gate.audit.exporting import Export
from mythos_gate.errors import Misconfigured

router = APIRouter(prefix="/v1/log", tags=["log"])
ZIP = "application/zip"
Index = Annotated[StrictInt, Field(ge=0, le=2**53 - 1)]


class Wanted(BaseModel):
    """Leaves `from` to `to` (without it) of the tree of a signed `size`; all of the newest if nothing is said."""

    model_config = ConfigDict(extra="forbid")
    start: Index = Field(0, alias="from")
    to: Index | None = None
    size: Index | None = None
    formats: list[Literal["ndjson", "csv", "parquet", "ocsf"]] = Field(default=["ndjson"], max_length=4)
    filters: Narrowed = Narrowed()


@router.post(
    "/exports",
    response_class=StreamingResponse,
    openapi_extra=body.documented(Wanted, required=False),
    responses={
        200: {"description": "the bundle", "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def export_log(request: Request, gate: TheGate, caller: MayReadLog) -> StreamingResponse:
    """A bundle of entries with all that proves them (docs/verification.md), as a ZIP.

    It is made while it is sent: what breaks off has no manifest, and `mythos-gate log verify` refuses it.
    """
    sent = await request.body()
    wanted = body.shaped(Wanted, await body.parsed(request) if sent.strip() else {})
    if gate.receipts is None:
        raise Misconfigured("no key signs exports: run `mythos-gate db upgrade`")
    async with read_only(gate) as connection:
        plan = await exporting.planned(
            connection, gate.vouching, wanted.start, wanted.to, wanted.size, wanted.filters.filters, wanted.formats
        )
    export, at = str(uuid4()), gate.now
    # Before the first byte leaves: whatever was read is in the log.
    await gate.log.note("log_exported", {"actor": caller.id, "export": export, **plan.logged})
    pieces: AsyncIterator[bytes] = Export(lambda: read_only(gate), plan, gate.receipts).pieces(export, caller.id, at)
    named = {
        "Content-Disposition": f'attachment; filename="log-{plan.start}-{plan.end}.zip"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(pieces, media_type=ZIP, headers=named)
