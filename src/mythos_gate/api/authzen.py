"""The decision API: AuthZEN Authorization API 1.0."""

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, StrictBool

from mythos_gate.api import body
from mythos_gate.api.deps import Gate, TheGate, authenticate
from mythos_gate.api.text import Text
from mythos_gate.audit.entry import timestamp
from mythos_gate.authn import api_keys
from mythos_gate.countries import normalise, normalise_region
from mythos_gate.decision import request as requests
from mythos_gate.decision.pdp import Answer, Ask, SeatsNeeded
from mythos_gate.errors import Conflict, GateError, NotRecorded
from mythos_gate.registry import seats
from mythos_gate.terms import FACTS

TRIES = 3
router = APIRouter(tags=["decision"])


class Part(BaseModel):
    """Unknown members are ignored everywhere (AuthZEN 1.0, section 5)."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Subject(Part):
    type: Text
    id: Text


class ActionProperties(Part):
    capability: Text | None = None
    purpose: Text | None = None


class Action(Part):
    name: Text
    properties: ActionProperties = ActionProperties()


class ResourceProperties(Part):
    version: Text | None = None


class Resource(Part):
    type: Text
    id: Text
    properties: ResourceProperties = ResourceProperties()


class Location(Part):
    country: Text | None = None
    region: Text | None = None
    anonymizer: StrictBool = False
    conflict: StrictBool = False


class Session(Part):
    mfa: Text | None = None


class Context(Part):
    location: Location | None = None
    endpoint: Text | None = None
    session: Session | None = None
    break_glass: Text | None = None


class Evaluation(Part):
    """What a PEP asks. The gate's own records win over anything said here about the subject."""

    subject: Subject
    action: Action
    resource: Resource
    context: Context | None = None

    def request(self) -> requests.Request:
        context = self.context or Context()
        location = context.location or Location()
        return requests.Request(
            subject_type=self.subject.type,
            subject_id=self.subject.id,
            action=self.action.name,
            capability=self.action.properties.capability,
            purpose=self.action.properties.purpose,
            resource_type=self.resource.type,
            model=self.resource.id,
            version=self.resource.properties.version,
            location=requests.Location(
                normalise(location.country),
                normalise_region(location.region),
                location.anonymizer,
                location.conflict,
            ),
            endpoint=context.endpoint,
            mfa=context.session.mfa if context.session else None,
            break_glass=context.break_glass,
        )


BODY = body.documented(Evaluation)
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "the request cannot be read (problem details)"},
    401: {"description": "no valid API key"},
    403: {"description": "this key may not ask"},
    413: {"description": "the body is too large"},
    503: {"description": "could not decide or record: never an answer"},
}


@router.post("/access/v1/evaluation", responses=PROBLEMS, openapi_extra=BODY)
async def evaluation(request: Request, gate: TheGate) -> Response:
    """May this subject do this? A recorded decision with the reason that is safe to show."""
    ask = await _read(request, gate)
    answer = await evaluate(gate, ask)
    return answered(shown(answer), {"X-Decision-ID": str(answer.id)})


@router.post("/v1/explain", responses=PROBLEMS, openapi_extra=BODY)
async def explain(request: Request, gate: TheGate) -> Response:
    """What would be decided, with all reasons; no entry is written and no seat claimed."""
    answer = await gate.pdp.explain(await _read(request, gate))
    return answered(shown(answer))


def answered(content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), headers=headers, media_type="application/json")


async def evaluate(gate: Gate, ask: Ask) -> Answer:
    """Between two evaluations seats may be claimed: the second then decides with the seat held."""
    for _ in range(TRIES):
        result = await gate.pdp.evaluate(ask)
        if isinstance(result, Answer):
            return result
        await _claim(gate, result, ask.received + gate.settings.deadline)
    raise NotRecorded("no seat could be claimed in time")


async def _claim(gate: Gate, needed: SeatsNeeded, deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline), gate.claims.change("seat_claimed", needed.caller) as change:
            await seats.claim(change, needed.person, needed.grants)
    except Conflict:
        return  # the last seat went to somebody else: the next evaluation says so
    except TimeoutError as error:
        raise NotRecorded("the deadline passed before a seat was claimed") from error


async def _read(request: Request, gate: Gate) -> Ask:
    """The question; a caller without a valid key is told so before anything about the body."""
    presented = api_keys.bearer(request.headers.get("authorization"))
    try:
        sent = await body.parsed(request)
        question = body.shaped(Evaluation, sent)
    except GateError:
        await authenticate(gate, presented)
        raise
    return asked(request, presented, question, sent)


def asked(request: Request, presented: api_keys.Presented, question: Evaluation, sent: dict[str, Any]) -> Ask:
    context, request_id = sent.get("context") or {}, request.headers.get("x-request-id")
    return Ask(presented, question.request(), request.state.received, context, request_id, sent)


def shown(answer: Answer) -> dict[str, Any]:
    """The answer as this caller may see it."""
    context: dict[str, Any] = {
        "id": str(answer.id),
        "outcome": answer.outcome,
        "evaluated_at": timestamp(answer.at),
        "policy_revision": answer.policy_revision,
        "reason_user": {"code": answer.reason.subject_sees, "message": answer.reason.message},
    }
    if answer.explained:
        context["reason_admin"] = {
            "primary": answer.decision.primary,
            "codes": list(answer.decision.codes),
            "cause": list(answer.decision.cause),
            "bypassed": list(answer.decision.bypassed),
            "rows": list(answer.decision.rows),
            "facts": {fact: answer.vector[fact] for fact in FACTS},
        }
    return {"decision": answer.decision.allowed, "context": context}
