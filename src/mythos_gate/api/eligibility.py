"""Eligibility over REST: who could use what as things stand, and what there is to mend and by whom.

An organization is told eligible, not eligible, in compliance review, or what to do: never nationality, screening or
ownership. Compliance sees the codes as well.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from mythos_gate import db
from mythos_gate.api.deps import Gate, MayReadFacts, MayReadStaff, TheGate, read_only
from mythos_gate.api.paging import paged
from mythos_gate.api.text import Instant, Name, Text
from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.db import DbRole
from mythos_gate.decision.eligibility import Eligibility, Standing
from mythos_gate.errors import Invalid, NotFound
from mythos_gate.registry import resources
from mythos_gate.registry.resources import Search
from mythos_gate.terms import Permission

router = APIRouter(prefix="/v1", tags=["eligibility"])
Status = Annotated[str | None, Query(pattern="^(eligible|not_eligible|in_compliance_review|action_needed|on_hold)$")]
Code = Annotated[str | None, Query(pattern="^[A-Z_]{1,64}$", description="a code that this caller is shown")]


@router.get("/people/{person:path}/eligibility")
async def read_eligibility(person: Name, gate: TheGate, caller: MayReadStaff) -> dict[str, Any]:
    """One person's, for each model that a grant of the organization names. Nothing is recorded or claimed."""
    async with read_only(gate) as connection:
        found = await resources.read(connection, resources.PERSON, person, caller)
    [told] = await gate.pdp.eligibility([found.id])
    return _shown(gate, caller, told)


@router.get("/people/{person:path}/access")
async def read_access(
    person: Name, gate: TheGate, caller: MayReadFacts, at: Annotated[Instant, Query(description="a time gone by")]
) -> dict[str, Any]:
    """What one person could have reached at a time: records, data set and policy as they were. Nothing is recorded."""
    if at > gate.now:
        raise Invalid("at: is still to come: give a time gone by")
    async with read_only(gate) as connection:
        found = await resources.read(connection, resources.PERSON, person, caller)
    url = db.role_url(gate.settings, DbRole.COMPLIANCE)
    told = await gate.pdp.eligibility_at(found.id, at, lambda: db.connect(url, DbRole.COMPLIANCE))
    if told is None:
        raise NotFound("this person was not on record then")
    return {**_shown(gate, caller, told), "at": timestamp(at)}


@router.get("/eligibility")
async def list_eligibility(
    gate: TheGate,
    caller: MayReadStaff,
    organization: Text | None = None,
    status: Status = None,
    reason: Code = None,
    limit: Annotated[int, Query(ge=1, le=100, description="how many people are looked at")] = 50,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """Of so many people those that fit; follow `next` to the end, also over a page without any."""
    filters = {} if organization is None else {"organization": organization}
    async with read_only(gate) as connection:
        found = await resources.page(connection, resources.PERSON, caller, Search(filters, cursor, limit + 1))
    page = paged(found, limit, lambda person: person.id, lambda person: person.id)
    told = [_shown(gate, caller, each) for each in await gate.pdp.eligibility(page["items"])]
    fitting = [item for item in told if any(_fits(model, status, reason) for model in item["models"])]
    return {"items": fitting, "next": page["next"]}


def _shown(gate: Gate, caller: Caller, told: Eligibility) -> dict[str, Any]:
    explained = gate.permissions.has(caller, Permission.EXPLAIN)
    models = [_standing(each, explained=explained) for each in told.models]
    return {"id": told.person, "person": told.name, "models": models}


def _standing(standing: Standing, *, explained: bool) -> dict[str, Any]:
    actions = [{"code": code, "what": what, "who": who} for code, what, who in standing.actions]
    more: dict[str, Any] = {}
    if explained:
        codes = [reason.code for reason in standing.reasons]
        more = {"outcome": standing.outcome.lower(), "codes": codes, "policy_revision": standing.policy_revision}
    return {"model": standing.model, "status": standing.status, "actions": actions, **more}


def _fits(model: dict[str, Any], status: str | None, reason: str | None) -> bool:
    """By what is shown to this caller and nothing else."""
    codes = [*model.get("codes", ()), *(action["code"] for action in model["actions"])]
    held = "hold" if "outcome" in model else "in_compliance_review"
    on_hold = status == "on_hold" and model.get("outcome", model["status"]) == held
    return (status in {None, model["status"]} or on_hold) and (reason is None or reason in codes)
