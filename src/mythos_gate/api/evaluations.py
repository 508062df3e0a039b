"""Several questions in one request: AuthZEN Authorization API 1.0, section 7."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import StrictBool

from mythos_gate.api import authzen, body
from mythos_gate.api.authzen import PROBLEMS, Action, Context, Evaluation, Part, Resource, Subject
from mythos_gate.api.deps import Gate, TheGate, authenticate
from mythos_gate.authn import api_keys
from mythos_gate.decision.pdp import Answer
from mythos_gate.errors import Invalid
from mythos_gate.terms import Permission

MOST = 100  # of one request: its questions written out fit into a body, and are recorded well within the deadline
AT_ONCE = 8  # of them: their claims of seats wait for few connections
# What an item's entity takes from the request's own, where it does not say it.
IDENTIFIERS = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}
router = APIRouter(tags=["decision"])
T = TypeVar("T")


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
async def evaluations(request: Request, gate: TheGate) -> Response:
    """Each item is a recorded decision; without items the request is one question, answered as such.

    Items say why, as the answer to one question does, if `options.explain` is true.
    An item that cannot be read is `decision: false` with the error. If one cannot be decided or recorded, there is no
    answer to any (503). The ids of the decisions are in `X-Decision-IDs`, `-` for what could not be read.
    """
    presented = api_keys.bearer(request.headers.get("authorization"))
    caller = await authenticate(gate, presented)
    gate.permissions.require(caller, Permission.EVALUATE)
    sent = await body.parsed(request)
    wanted = body.shaped(Sent, sent)
    if not wanted.evaluations:
        return await authzen.evaluation(request, gate)
    if len(wanted.evaluations) > MOST:
        raise Invalid(f"evaluations: more than {MOST}: send the rest in another request")

    few = asyncio.Semaphore(AT_ONCE)

    async def answer(item: Any) -> Answer | dict[str, Any]:
        async with few:
            return await _answer(request, gate, presented, _merged(item, sent))

    if wanted.options.evaluations_semantic == Semantic.EXECUTE_ALL:
        answers = await _all(map(answer, wanted.evaluations))
    else:
        answers, last = [], wanted.options.evaluations_semantic == Semantic.PERMIT_ON_FIRST_PERMIT
        for item in wanted.evaluations:
            answers.append(await answer(item))
            if _allows(answers[-1]) is last:
                break
    ids = ",".join(str(each.id) if isinstance(each, Answer) else "-" for each in answers)
    shown = [_shown(each, wanted.options) if isinstance(each, Answer) else each for each in answers]
    return authzen.answered({"evaluations": shown}, {"X-Decision-IDs": ids})


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each gives; when one fails the others are given up."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


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


async def _answer(request: Request, gate: Gate, presented: api_keys.Presented, item: Any) -> Answer | dict[str, Any]:
    try:
        question = body.shaped(Evaluation, item)
    except Invalid as error:
        return {"decision": False, "context": {"error": {"status": 400, "message": str(error)}}}
    return await authzen.evaluate(gate, authzen.asked(request, presented, question, item))


def _allows(answer: Answer | dict[str, Any]) -> bool:
    return isinstance(answer, Answer) and answer.decision.allowed


def _shown(answer: Answer, options: Options) -> dict[str, Any]:
    """The same question is answered with the same bytes: ids and times are elsewhere."""
    shown = authzen.shown(answer)
    if not options.explain:
        return {"decision": shown["decision"]}
    context = {name: value for name, value in shown["context"].items() if name not in {"id", "evaluated_at"}}
    return {"decision": shown["decision"], "context": context}
