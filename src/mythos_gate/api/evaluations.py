"""Several questions in one request: AuthZEN Authorization API 1.0, section 7."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import StrictBool

from mythos_gate.api import authzen, body
from mythos_gate.api.authzen import PROBLEMS, Action, Context, Part, Resource, Subject
from mythos_gate.api.deps import Gate, MayEvaluate, TheGate
from mythos_gate.api.front import Incoming, Reply
from mythos_gate.authn.bearer import Credential
from mythos_gate.decision.pdp import Answer, Ask
from mythos_gate.errors import Invalid
from mythos_gate.terms import Permission

MOST = 100  # of one request: its questions written out fit into a body, and are recorded well within the deadline
# What an item's entity takes from the request's own, where it does not say it.
IDENTIFIERS = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}
router = APIRouter(tags=["decision"])
Unread: TypeAlias = dict[str, Any]  # what is answered to an item that cannot be read


class Semantic(StrEnum):
    """Whether all are decided, or those up to the first deny, or up to the first permit."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"


class Options(Part):
    evaluations_semantic: Semantic = Semantic.EXECUTE_ALL
    explain: StrictBool = False  # say why, beside each decision


class Item(Part):
    """What it does not name is the request's own."""

    subject: Subject | None = None
    action: Action | None = None
    resource: Resource | None = None
    context: Context | None = None


class Evaluations(Item):
    """For the document; each item is read by itself, so that one that cannot be read hurts no other."""

    evaluations: tuple[Item, ...] = ()
    options: Options = Options()


class Sent(Part):
    evaluations: tuple[Any, ...] = ()
    options: Options = Options()


@router.post("/access/v1/evaluations", responses=PROBLEMS, openapi_extra=body.documented(Evaluations))
async def evaluations(
    request: Request,
    gate: TheGate,
    presented: MayEvaluate,  # noqa: ARG001  the signature says who may call
) -> Response:
    """Each item is a recorded decision; without items the request is one question, answered as such.

    Items say why, as the answer to one question does, if `options.explain` is true.
    An item that cannot be read is `decision: false` with the error. If one cannot be decided or recorded, there is no
    answer to any (503). The ids of the decisions are in `X-Decision-IDs`, `-` for what could not be read.
    """
    return (await evaluated(gate, Incoming.of(request.scope, request.receive))).response()


async def evaluated(gate: Gate, incoming: Incoming) -> Reply:
    """From a request to its answers."""
    presented = await gate.bearer(incoming.authorization)
    await gate.pdp.require(presented, Permission.EVALUATE)
    sent = body.members(incoming.content_type, await incoming.body())
    wanted = body.shaped(Sent, sent)
    if not wanted.evaluations:
        return await authzen.answered(gate, authzen.read(incoming, presented, sent))
    if len(wanted.evaluations) > MOST:
        raise Invalid(f"evaluations: more than {MOST}: send the rest in another request")
    items = [_read(incoming, presented, _merged(item, sent)) for item in wanted.evaluations]
    answers = await _answers(gate, items, wanted.options.evaluations_semantic)
    ids = ",".join(each.id if isinstance(each, Answer) else "-" for each in answers)
    shown = [_shown(each, wanted.options) if isinstance(each, Answer) else each for each in answers]
    return Reply(orjson.dumps({"evaluations": shown}), ((b"x-decision-ids", ids.encode()),))


async def _answers(gate: Gate, items: Sequence[Ask | Unread], semantic: Semantic) -> list[Answer | Unread]:
    """All at once, or one after the other up to the one that ends it."""
    if semantic == Semantic.EXECUTE_ALL:
        decided = iter(await authzen.evaluate(gate, [each for each in items if isinstance(each, Ask)]))
        return [next(decided) if isinstance(each, Ask) else each for each in items]
    answers: list[Answer | Unread] = []
    for each in items:
        answers += await authzen.evaluate(gate, [each]) if isinstance(each, Ask) else [each]
        if _allows(answers[-1]) is (semantic == Semantic.PERMIT_ON_FIRST_PERMIT):
            break
    return answers


def _merged(item: Any, sent: Mapping[str, Any]) -> Any:
    """The item with what the request says for all; of an entity that both name the item's own counts (7.1.1)."""
    if not isinstance(item, dict):
        return item
    made = {name: sent[name] for name in (*IDENTIFIERS, "context") if name in sent} | item
    for name, keys in IDENTIFIERS.items():
        own, default = item.get(name), sent.get(name)
        if isinstance(own, dict) and isinstance(default, dict):
            made[name] = {key: default[key] for key in keys if key in default} | own
    return made


def _read(incoming: Incoming, presented: Credential, item: Any) -> Ask | Unread:
    try:
        return authzen.read(incoming, presented, item)
    except Invalid as error:
        return {"decision": False, "context": {"error": {"status": 400, "message": str(error)}}}


def _allows(answer: Answer | Unread) -> bool:
    return isinstance(answer, Answer) and answer.told.decision.allowed


def _shown(answer: Answer, options: Options) -> dict[str, Any]:
    """The same question is answered with the same bytes: ids and times are elsewhere."""
    shown = authzen.shown(answer)
    if not options.explain:
        return {"decision": shown["decision"]}
    context = {name: value for name, value in shown["context"].items() if name not in {"id", "evaluated_at"}}
    return {"decision": shown["decision"], "context": context}
