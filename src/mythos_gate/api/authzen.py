"""The decision API: AuthZEN Authorization API 1.0."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar, cast

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from mythos_gate.analysis import child
from mythos_gate.api import body
from mythos_gate.api.deps import Gate, MayEvaluate, MayExplain, TheGate, read_only
from mythos_gate.api.front import Incoming, Reply
from mythos_gate.api.text import Text, is_text
from mythos_gate.authn.bearer import Credential
from mythos_gate.countries import normalise, normalise_region
from mythos_gate.decision import request as requests
from mythos_gate.decision.pdp import Answer, Ask, SeatsNeeded
from mythos_gate.errors import Conflict, GateError, Invalid, NotRecorded
from mythos_gate.registry import policies, seats
from mythos_gate.terms import Permission

TRIES = 3
AT_ONCE = 8  # claims of seats
NOTHING: dict[str, Any] = {}
router = APIRouter(tags=["decision"])
T = TypeVar("T")


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


# What an agent showed the gateway: a token of an issuer that the gate takes (RFC 8693 4.1), which it verifies itself.
ActorToken = Annotated[StrictStr, Field(max_length=8_192)]


class Context(Part):
    location: Location | None = None
    endpoint: Text | None = None
    session: Session | None = None
    break_glass: Text | None = None
    actor_token: ActorToken | None = None


class Evaluation(Part):
    """What a PEP asks. The gate's own records win over anything said here about the subject."""

    subject: Subject
    action: Action
    resource: Resource
    context: Context | None = None

    def request(self) -> requests.Request:
        context = self.context or Context()
        if context.actor_token is not None and self.subject.type != "agent":
            raise Invalid("context.actor_token: only an agent acts for another: leave it out")
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
    401: {"description": "no valid API key or token"},
    403: {"description": "this key may not ask"},
    413: {"description": "the body is too large"},
    503: {"description": "could not decide or record: never an answer"},
}


@router.post("/access/v1/evaluation", responses=PROBLEMS, openapi_extra=BODY)
async def evaluation(
    request: Request,
    gate: TheGate,
    presented: MayEvaluate,  # noqa: ARG001  the signature says who may call
) -> Response:
    """May this subject do this? A recorded decision with the reason that is safe to show."""
    return (await evaluated(gate, Incoming.of(request.scope, request.receive))).response()


async def evaluated(gate: Gate, incoming: Incoming) -> Reply:
    """From a request to its answer."""
    return await answered(gate, await _asked(gate, incoming))


async def answered(gate: Gate, ask: Ask) -> Reply:
    """The answer to one question."""
    (answer,) = await evaluate(gate, [ask])
    return Reply(orjson.dumps(shown(answer)), ((b"x-decision-id", answer.id.encode()),))


@router.post("/v1/explain", responses=PROBLEMS, openapi_extra=BODY)
async def explain(request: Request, gate: TheGate, presented: MayExplain) -> Response:
    """What would be decided, with all reasons; no entry is written and no seat claimed."""
    return Reply(orjson.dumps(shown(await _explained(request, gate, presented)))).response()


@router.post("/v1/decisions/explain", responses=PROBLEMS, openapi_extra=BODY)
async def explain_change(request: Request, gate: TheGate, presented: MayExplain) -> Response:
    """The same, with the smallest change that would make it an allow, and what each audience is told of that.

    Nobody is told to be of another nationality, or elsewhere.
    """
    answer = await _explained(request, gate, presented)
    async with read_only(gate) as connection:
        files = await policies.files(connection, answer.policy_revision)
    change = await child.run("explanation", files=files, facts=orjson.loads(answer.told.logged["facts"]))
    return Reply(orjson.dumps({**shown(answer), "change": change})).response()


async def _explained(request: Request, gate: Gate, presented: Credential) -> Answer:
    incoming = Incoming.of(request.scope, request.receive)
    ask = read(incoming, presented, body.members(incoming.content_type, await incoming.body()))
    await _show(gate, [ask])
    return await gate.pdp.explain(ask)


async def evaluate(gate: Gate, asks: Sequence[Ask]) -> list[Answer]:
    """Between two evaluations seats may be claimed: the second then decides with the seat held."""
    await _show(gate, asks)
    results = await gate.pdp.evaluate(asks)
    for _ in range(TRIES):
        waiting = [place for place, result in enumerate(results) if isinstance(result, SeatsNeeded)]
        if not waiting:
            return cast("list[Answer]", results)
        needed = {result for result in results if isinstance(result, SeatsNeeded)}
        few = asyncio.Semaphore(AT_ONCE)
        deadline = asks[0].received + gate.settings.deadline
        await together(_claim(gate, each, few, deadline) for each in needed)
        await gate.pdp.refresh(deadline)
        again = await gate.pdp.evaluate([asks[place] for place in waiting])
        for place, result in zip(waiting, again, strict=True):
            results[place] = result
    raise NotRecorded("no seat could be claimed in time")


async def _show(gate: Gate, asks: Sequence[Ask]) -> None:
    """Verify the tokens that agents showed. `NotDecided`."""
    for ask in asks:
        token = ask.context.get("actor_token")
        if token is not None:
            ask.request.chain = await gate.chain(token)


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each gives; when one fails the others are given up."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _claim(gate: Gate, needed: SeatsNeeded, few: asyncio.Semaphore, deadline: float) -> None:
    """A few at a time: claims wait for few connections. For one person's first requests, one claim."""
    try:
        async with asyncio.timeout_at(deadline), few:
            under_way = gate.claiming.get(needed)
            if under_way is None:
                under_way = gate.claiming[needed] = asyncio.ensure_future(_claimed(gate, needed))
                under_way.add_done_callback(lambda _: gate.claiming.pop(needed))
            await asyncio.shield(under_way)
    except TimeoutError as error:
        raise NotRecorded("the deadline passed before a seat was claimed") from error


async def _claimed(gate: Gate, needed: SeatsNeeded) -> None:
    """Whoever waits for it may be there later than the first."""
    with suppress(Conflict):  # the last seat went to somebody else: the next evaluation says so
        async with (
            asyncio.timeout(gate.settings.deadline),
            gate.claims.change("seat_claimed", needed.caller) as change,
        ):
            await seats.claim(change, needed.person, needed.grants)


async def _asked(gate: Gate, incoming: Incoming) -> Ask:
    """The question; a caller without a valid key is told so before anything about the body."""
    presented = await gate.bearer(incoming.authorization)
    try:
        return read(incoming, presented, body.members(incoming.content_type, await incoming.body()))
    except GateError:
        await gate.pdp.require(presented, Permission.EVALUATE)
        raise


def read(incoming: Incoming, presented: Credential, sent: Any) -> Ask:
    """One question, from its members. `Invalid`."""
    request = plain(sent) or body.shaped(Evaluation, sent).request()
    context = sent.get("context") or {}
    return Ask(presented, request, incoming.received, context, incoming.request_id, sent)


def plain(sent: Any) -> requests.Request | None:
    """The request that `Evaluation` finds in most bodies, in a third of the time; None where it has to look itself.

    That is where something is wrong, which is told in its words, or unusual.
    """
    try:
        subject, action, resource = sent["subject"], sent["action"], sent["resource"]
        context = sent.get("context", NOTHING)
        uses, version = action.get("properties", NOTHING), resource.get("properties", NOTHING).get("version")
        location, session = context.get("location", NOTHING), context.get("session", NOTHING)
        texts = (subject["type"], subject["id"], action["name"], resource["type"], resource["id"])
        capability, purpose, endpoint = uses.get("capability"), uses.get("purpose"), context.get("endpoint")
        country, region, mfa = location.get("country"), location.get("region"), session.get("mfa")
        anonymizer, conflict = location.get("anonymizer", False), location.get("conflict", False)
        glass, token = context.get("break_glass"), context.get("actor_token")
    except (KeyError, AttributeError, TypeError):
        return None
    for text in texts:
        if not is_text(text):
            return None
    for text in (capability, purpose, version, country, region, endpoint, mfa, glass):
        if text is not None and not is_text(text):
            return None
    if type(anonymizer) is not bool or type(conflict) is not bool or token is not None:
        return None
    kind, identifier, name, resource_kind, model = texts
    place = requests.Location(normalise(country), normalise_region(region), anonymizer, conflict)
    return requests.Request(
        kind, identifier, name, capability, purpose, resource_kind, model, version, place, endpoint, mfa, glass
    )


def shown(answer: Answer) -> dict[str, Any]:
    """The answer as this caller may see it."""
    context: dict[str, Any] = {
        "id": answer.id,
        "outcome": answer.told.outcome,
        "evaluated_at": answer.written,
        "policy_revision": answer.policy_revision,
        "reason_user": answer.told.user,
    }
    if answer.explained:
        context["reason_admin"] = answer.told.admin
    return {"decision": answer.told.decision.allowed, "context": context}
