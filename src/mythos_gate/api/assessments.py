"""Assessments over REST: US-person status and nationality, of compliance alone; two officers assert them."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from mythos_gate.api import body
from mythos_gate.api.deps import Gate, MayAssess, TheGate, reading
from mythos_gate.api.idempotency import Once
from mythos_gate.api.resources import IfMatch, conditional, requested, tagged, writer
from mythos_gate.api.text import Instant, Name, Text
from mythos_gate.authn.api_keys import Caller
from mythos_gate.registry import assessments
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import RequestedAction, UsBasis, UsPerson

router = APIRouter(prefix="/v1/people/{person:path}/assessment", tags=["assessments"], route_class=Once)


Day = Annotated[StrictStr, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class Held(BaseModel):
    """A citizenship or permanent residency. Any text is a country; one that is not known denies."""

    model_config = ConfigDict(extra="forbid")
    # Nothing that a list or its dates are made of: what is told must be what is kept.
    country: Annotated[Text, Field(pattern=r"^[^@;|]*[^@;|\s][^@;|]*$")]
    acquired: Day | None = None
    ended: Day | None = None


class Assessment(BaseModel):
    """All that is on record. Records are kept only of people who are not US persons."""

    model_config = ConfigDict(extra="forbid")
    us_person: UsPerson
    us_basis: UsBasis | None = None
    evidence_expires: Instant | None = None
    citizenships: list[Held] = []
    permanent_residencies: list[Held] = []


@router.get("")
async def read_assessment(person: Name, gate: TheGate, caller: MayAssess, response: Response) -> Mapping[str, Any]:
    """What is in force, and what waits for a second officer. Reading it is noted in the log."""
    async with reading(gate.registry.engine) as connection:
        found = await assessments.read(connection, person, caller)
        waiting = await assessments.requested(connection, found.id, gate.now)
    await _note(gate, caller, found.id)
    return {**tagged(found, response), "requested": waiting}


@router.put("", status_code=202, openapi_extra=body.documented(Assessment))
async def replace_assessment(
    person: Name, request: Request, gate: TheGate, caller: MayAssess, response: Response, if_match: IfMatch = None
) -> Mapping[str, Any]:
    """Request what is on record from now on; until another officer approves it, it counts for nothing."""
    condition = conditional(if_match)
    members = body.shaped(Assessment, await body.parsed(request)).model_dump(mode="json")
    wanted = Wanted(RequestedAction.REPLACE, "assessments", person, etag=condition, apart=members)
    return await requested(gate, caller, wanted, response)


@router.post("/withdraw")
async def withdraw_assessment(person: Name, gate: TheGate, caller: MayAssess) -> dict[str, str]:
    """The status counts as unknown at once; one officer suffices."""
    async with gate.registry.change("assessment_withdrawn", caller.id) as change:
        await assessments.withdraw(change, person, writer(gate, caller))
        identifier = str(change.details["person"])
    return {"id": identifier, "us_person": UsPerson.UNKNOWN}


async def _note(gate: Gate, caller: Caller, person: str) -> None:
    await gate.log.note("nationality_read", {"actor": caller.id, "person": person})
