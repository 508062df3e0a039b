"""Simulations over REST: what a directive, an exemption, a grant or a data set would change, before it is signed."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from mythos_gate import db
from mythos_gate.analysis import child
from mythos_gate.api import body
from mythos_gate.api.deps import MayRunProgramme, TheGate, read_only
from mythos_gate.api.text import Instant, Text
from mythos_gate.db import DbRole
from mythos_gate.errors import Invalid
from mythos_gate.registry import jurisdictions, organizations, policies
from mythos_gate.terms import DirectiveClass, ForeignNationals, GrantStatus, NationalityBasis

router = APIRouter(prefix="/v1/simulations", tags=["policies"])
Texts = Annotated[list[Text], Field(max_length=1000)]


class Directive(BaseModel):
    """As it would be recorded."""

    model_config = ConfigDict(extra="forbid")
    model: Text
    versions: Annotated[list[Text], Field(min_length=1, max_length=100)]
    applies_to: DirectiveClass
    start: Annotated[Instant, Field(alias="from")]
    until: Instant | None = None


class Grant(BaseModel):
    """The members that would change."""

    model_config = ConfigDict(extra="forbid")
    versions: Texts | None = None
    capabilities: Texts | None = None
    purposes: Texts | None = None
    excluded_groups: Texts | None = None
    allowed_countries: Texts | None = None
    foreign_nationals: ForeignNationals | None = None
    nationality_basis: NationalityBasis | None = None
    status: GrantStatus | None = None
    contractors: StrictBool | None = None
    agents: StrictBool | None = None
    seat_cap: Annotated[int, Field(strict=True, ge=0)] | None = None


class Draft(BaseModel):
    """Any of these, or a bundle. `policy`, `data_set`: on record; `grants` by their ids; `exempt`: organizations."""

    model_config = ConfigDict(extra="forbid")
    policy: Text | None = None
    data_set: Text | None = None
    directives: Annotated[list[Directive], Field(max_length=100)] = []
    exempt: Texts = []
    grants: Annotated[dict[Text, Grant], Field(max_length=1000)] = {}


@router.post("", openapi_extra=body.documented(Draft))
async def simulate(request: Request, gate: TheGate, caller: MayRunProgramme) -> dict[str, Any]:
    """Ask the standing requests of everybody on record, as things stand and as they would be. Nothing is changed."""
    draft = body.shaped(Draft, await body.parsed(request))
    asked = draft.model_dump(mode="json", by_alias=True, exclude_unset=True)
    async with read_only(gate) as connection:
        if draft.policy is not None:
            asked["files"] = (await policies.read(connection, asked.pop("policy")))["files"]
        if draft.data_set is not None and not await jurisdictions.page(connection, only=draft.data_set):
            raise Invalid("data_set: is not on record")
        if draft.exempt:
            asked["exempt"] = await organizations.ids(connection, draft.exempt)
    url = db.role_url(gate.settings, DbRole.COMPLIANCE)
    async with gate.simulating:
        found = await child.run("impact", url=url, **asked)
    await gate.log.note("simulated", {"actor": caller.id, "members": sorted(draft.model_fields_set)})
    return found
