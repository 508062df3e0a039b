"""In one process: records in cache, facts, policy; no HTTP, no log. Beside it cedarpy and regorus, given the facts."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bench import translate
from bench.gate import Answered, Gate
from bench.questions import Question
from mythos_gate import db
from mythos_gate.api.authzen import Evaluation
from mythos_gate.app import wall_clock
from mythos_gate.authn import api_keys
from mythos_gate.db import DbRole
from mythos_gate.decision import facts
from mythos_gate.decision.library import Library
from mythos_gate.decision.policy import Row
from mythos_gate.decision.records import Pip
from mythos_gate.decision.request import Request
from mythos_gate.revision import Known

CHUNK = 100  # questions read at once
UNREMEMBERED = 200  # questions: a stock Casbin is slow
Decide: TypeAlias = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, who asks it, and the caches that hold what is on record for it."""

    pip: Pip
    key: str
    request: Request


def ours(prepared: Prepared) -> bool:
    """What the hot path does between the request and the log: all of the gate that is compared here."""
    loaded = prepared.pip.compose(prepared.key, prepared.request)
    assert loaded is not None
    derived = facts.derive(loaded.records, prepared.request, loaded.now)
    return loaded.policy.decide(derived.vector).allowed


def unremembered(prepared: Prepared) -> bool:
    """The same by a stock Casbin enforcer for each answer."""
    loaded = prepared.pip.compose(prepared.key, prepared.request)
    assert loaded is not None
    derived = facts.derive(loaded.records, prepared.request, loaded.now)
    return loaded.policy._decide(derived.vector).allowed  # noqa: SLF001  the path without its memory


async def prepare(gate: Gate, questions: Sequence[Question]) -> list[Prepared]:
    key = api_keys.parse(gate.keys.gateway)
    pip = Pip(Known(), Library(), wall_clock)
    pool = await db.pool(gate.database, DbRole.SERVICE, 4)
    requests = [Evaluation.model_validate(question.body).request() for question in questions]
    try:
        for start in range(0, len(requests), CHUNK):
            await pip.load(pool.acquire, key.id, requests[start : start + CHUNK])
        return [Prepared(pip, key.id, request) for request in requests]
    finally:
        await pool.close()


# --- the peers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Engine:
    """A peer: how a question is put to it, made before the time is taken, and how it is asked."""

    ask: Callable[[Answered], Any]
    decide: Decide


def cedarpy(rows: Sequence[Row]) -> Engine:
    """Policies and entities parsed once; the request as its own documentation writes it."""
    import cedarpy as cedar

    policies = cedar.PolicySet.from_str(translate.cedar(rows))
    entities = cedar.Entities.from_json_str("[]")

    def ask(answered: Answered) -> Any:
        subject = answered.question.body["subject"]
        return {
            "principal": {"type": subject["type"].title(), "id": subject["id"]},
            "action": {"type": "Action", "id": translate.ACTION},
            "resource": {"type": "Model", "id": translate.KIND},
            "context": answered.facts,
        }

    return Engine(ask, lambda request: bool(cedar.is_authorized(request, policies, entities).allowed))


def regorus(rows: Sequence[Row]) -> Engine:
    """The binding's engine, with the policy added once."""
    from regorus import Engine as Regorus

    engine = Regorus()
    engine.add_policy("gate.rego", translate.rego(rows))

    def decide(vector: dict[str, str]) -> bool:
        engine.set_input(vector)
        return bool(engine.eval_rule("data.gate.allow"))

    return Engine(lambda answered: answered.facts, decide)


def regorus_compiled(rows: Sequence[Row]) -> Engine:
    """Its virtual machine, which the package has but does not export: the policy compiled, the input as JSON text."""
    from regorus.regorus import Program, Rvm

    machine = Rvm()
    machine.load_program(Program.compile_from_modules("{}", [("gate.rego", translate.rego(rows))], ["data.gate.allow"]))

    def decide(text: str) -> bool:
        machine.set_input_json(text)
        return bool(machine.execute() == "true")

    return Engine(lambda answered: json.dumps(answered.facts), decide)


PEERS = {"cedarpy": cedarpy, "regorus": regorus, "regorus_compiled": regorus_compiled}


# --- measuring ------------------------------------------------------------------------------------------------


def measure(prepared: Sequence[Prepared], answered: Sequence[Answered], rounds: int) -> dict[str, float]:
    """Microseconds of CPU a decision, by name: the median of some rounds, in which all take turns.

    ValueError if one of them answers otherwise than the gate did.
    """
    first = prepared[0].pip.compose(prepared[0].key, prepared[0].request)
    assert first is not None
    rows = first.policy.rows
    work: dict[str, tuple[Decide, list[Any]]] = {
        "ours": (ours, list(prepared)),
        "ours_unremembered": (unremembered, list(prepared[:UNREMEMBERED])),
    }
    for name, engine in PEERS.items():
        made = engine(rows)
        work[name] = (made.decide, [made.ask(each) for each in answered])
    expected = [each.allowed for each in answered]
    for name, (decide, asked) in work.items():
        if [decide(each) for each in asked] != expected[: len(asked)]:
            raise ValueError(f"{name} does not decide as the gate does")
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, (decide, asked) in work.items():
            times[name].append(_microseconds(decide, asked))
    return {name: statistics.median(taken) for name, taken in times.items()}


def _microseconds(decide: Decide, asked: Sequence[Any]) -> float:
    begun = time.process_time()
    for each in asked:
        decide(each)
    return (time.process_time() - begun) / len(asked) * 1e6
