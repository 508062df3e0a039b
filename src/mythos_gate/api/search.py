"""Who may, on what, and do what: AuthZEN Authorization API 1.0, section 8."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BeforeValidator, Field, StrictInt, StrictStr

from mythos_gate.api import body
from mythos_gate.api.authzen import (
    PROBLEMS,
    Action,
    ActionProperties,
    Context,
    Evaluation,
    Part,
    Resource,
    ResourceProperties,
    Subject,
)
from mythos_gate.api.deps import Gate, MayEvaluate, TheGate
from mythos_gate.api.front import Reply
from mythos_gate.api.text import Text
from mythos_gate.authn.bearer import Credential
from mythos_gate.decision.search import Kind, Search
from mythos_gate.errors import Invalid

router = APIRouter(prefix="/access/v1/search", tags=["decision"])
OPEN = ""  # the identifier that is searched for
# What of each entity makes a question; a searched entity's identifier does not.
MEMBERS = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}
IDENTIFIER = {Kind.SUBJECT: "id", Kind.ACTION: "name", Kind.RESOURCE: "id"}


class Page(Part):
    """At most `limit` results. `token` is the page before's `next_token`: all else stays, `limit` may be left out."""

    token: Annotated[StrictStr, Field(max_length=1024)] | None = None
    limit: Annotated[StrictInt, Field(ge=0)] | None = None


class SearchedSubject(Part):
    type: Text


class SearchedResource(Part):
    type: Text
    properties: ResourceProperties = ResourceProperties()


class SearchedAction(Part):
    properties: ActionProperties = ActionProperties()


class Paged(Part):
    context: Context | None = None
    page: Page | None = None


class SubjectSearch(Paged):
    subject: SearchedSubject
    action: Action
    resource: Resource

    def evaluation(self) -> Evaluation:
        subject = Subject(type=self.subject.type, id=OPEN)
        return Evaluation(subject=subject, action=self.action, resource=self.resource, context=self.context)


class ResourceSearch(Paged):
    subject: Subject
    action: Action
    resource: SearchedResource

    def evaluation(self) -> Evaluation:
        resource = Resource(type=self.resource.type, id=OPEN, properties=self.resource.properties)
        return Evaluation(subject=self.subject, action=self.action, resource=resource, context=self.context)


def _entity(value: Any) -> Any:
    """An action is no part of this request (8.6.1), so whatever else stands there is ignored."""
    return value if isinstance(value, dict) else {}


class ActionSearch(Paged):
    subject: Subject
    resource: Resource
    action: Annotated[SearchedAction, BeforeValidator(_entity)] = SearchedAction()

    def evaluation(self) -> Evaluation:
        action = Action(name=OPEN, properties=self.action.properties)
        return Evaluation(subject=self.subject, action=action, resource=self.resource, context=self.context)


Shape: TypeAlias = SubjectSearch | ResourceSearch | ActionSearch


@router.post("/subject", responses=PROBLEMS, openapi_extra=body.documented(SubjectSearch))
async def subjects(request: Request, gate: TheGate, presented: MayEvaluate) -> Response:
    """Which people or agents may do this, as `ORGANIZATION/EXTERNAL_ID`; those alone about whom this key may ask.

    A page looks at a bounded number of them: it may hold few or none, and still have a `next_token`. Follow it to "".
    That it was asked is recorded, and no seat claimed; who would get a free seat is among them.
    """
    return await _found(request, gate, presented, Kind.SUBJECT, SubjectSearch)


@router.post("/resource", responses=PROBLEMS, openapi_extra=body.documented(ResourceSearch))
async def resources(request: Request, gate: TheGate, presented: MayEvaluate) -> Response:
    """Which models this subject may use so, in the version that the properties name. Recorded as a search."""
    return await _found(request, gate, presented, Kind.RESOURCE, ResourceSearch)


@router.post("/action", responses=PROBLEMS, openapi_extra=body.documented(ActionSearch))
async def actions(request: Request, gate: TheGate, presented: MayEvaluate) -> Response:
    """What this subject may do with the model: `invoke`, or nothing. Recorded as a search.

    Capability and purpose count where `action.properties` name them; else any will do that the subject's organization
    has a grant for.
    """
    return await _found(request, gate, presented, Kind.ACTION, ActionSearch)


async def _found(request: Request, gate: Gate, presented: Credential, kind: Kind, shape: type[Shape]) -> Response:
    sent = await body.parsed(request)
    asked = body.shaped(shape, sent)
    entities = _entities(kind, sent)
    if asked.context is not None and asked.context.actor_token is not None:
        raise Invalid("context.actor_token: a search asks about all: leave it out")
    question = {"kind": kind, **entities}
    page = asked.page or Page()
    after, limit = "", page.limit
    if page.token is not None:
        after, limit = gate.tokens.open(page.token, limit, question)
    searched = asked.evaluation().request()
    found = await gate.pdp.search(Search(kind, searched, presented, request.state.received, entities, after, limit))
    token = "" if found.next is None else gate.tokens.seal(found.next, limit, question)
    results = [_shown(kind, entities, each) for each in found.ids]
    return Reply(orjson.dumps({"page": {"next_token": token}, "results": results})).response()


def _entities(kind: Kind, sent: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the question, as sent: unknown members, the page and what is searched for do not."""
    made: dict[str, Any] = {}
    for name, members in MEMBERS.items():
        entity = sent.get(name)
        known = {*members, "properties"} - ({IDENTIFIER[kind]} if name == kind else set())
        if isinstance(entity, dict) and (kept := {each: entity[each] for each in known if each in entity}):
            made[name] = kept
    if sent.get("context") is not None:
        made["context"] = sent["context"]
    return made


def _shown(kind: Kind, entities: Mapping[str, Any], identifier: str) -> dict[str, str]:
    if kind == Kind.ACTION:
        return {"name": identifier}
    return {"type": entities[kind]["type"], "id": identifier}
