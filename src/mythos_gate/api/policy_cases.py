"""Policy cases over REST: one officer of compliance adds them, two lift them."""

import asyncio
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, JsonValue

from mythos_gate.api import body
from mythos_gate.api.deps import MayActivatePolicy, MayReadProgramme, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import requested
from mythos_gate.api.stops import Lifted
from mythos_gate.api.text import Name, Text
from mythos_gate.decision import cases
from mythos_gate.decision.policy import Policy
from mythos_gate.errors import Invalid
from mythos_gate.registry import policies, policy_cases
from mythos_gate.registry.policy_cases import ORDERS
from mythos_gate.registry.widening import Wanted
from mythos_gate.settings import root
from mythos_gate.terms import RequestedAction

router = APIRouter(prefix="/v1/policy-cases", tags=["policies"], route_class=Once)


class Cases(BaseModel):
    """`file` is a file of policy cases, of the form of policies/cases."""

    model_config = ConfigDict(extra="forbid")
    name: Text
    file: dict[str, JsonValue]


@router.post("", status_code=201, openapi_extra=body.documented(Cases))
async def add_cases(request: Request, gate: TheGate, caller: MayActivatePolicy, response: Response) -> dict[str, Any]:
    """Hold every later draft against these as well; the answer tells which of them the policy in force fails."""
    given = body.shaped(Cases, await body.parsed(request))
    async with read_only(gate) as connection:
        in_force = (await policies.in_force(connection))["policy_sha256"]
        files = None if in_force is None else (await policies.read(connection, in_force))["files"]
    failing = await asyncio.to_thread(_failing, given.file, files)
    async with gate.registry.change("policy_case_added", caller.id) as change:
        made = await ORDERS.read(change.connection, await policy_cases.add(change, given.name, given.file))
    response.headers["Location"] = f"/v1/policy-cases/{made['id']}"
    return {**made, "failing_now": failing}


def _failing(given: Mapping[str, Any], files: Mapping[str, str] | None) -> list[str]:
    """Ids of the scenarios. `Invalid` names what cannot be read."""
    text = orjson.dumps(given).decode()
    if "\\u0000" in text:
        raise Invalid("file: must not hold U+0000")
    file = cases.read(text)
    for _ in cases.situations(file):
        pass  # whether or not there is a policy to ask
    if files is None:
        return []
    jurisdictions = cases.read_jurisdictions((root() / "policies" / "jurisdictions.csv").read_text(encoding="utf-8"))
    return [each.scenario.id for each in cases.run(file, Policy(files), jurisdictions) if each.differences]


@router.get("")
async def list_cases(
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
    lifted: Lifted = False,  # noqa: FBT002  a query parameter
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """What officers have added and stands, or was lifted."""
    async with read_only(gate) as connection:
        found = await ORDERS.page(connection, lifted=lifted, after=cursor, limit=limit + 1)
    return paged(found, limit, itemgetter("id"))


@router.get("/{identifier}")
async def read_cases(
    identifier: Name,
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    """One, with the file."""
    async with read_only(gate) as connection:
        found = await ORDERS.read(connection, identifier)
        return {**found, "file": await policy_cases.content(connection, identifier)}


@router.post("/{reference}/lift", status_code=202)
async def lift_cases(
    reference: Name, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> Mapping[str, Any]:
    """Request that drafts are held against them no more."""
    return await requested(gate, caller, Wanted(RequestedAction.LIFT, "policy_cases", reference), response)
