"""Analyses in a process of their own: they take all cores for a while, and must not make an answer wait."""

import asyncio
import gc
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from mythos_gate import db
from mythos_gate.db import DbRole
from mythos_gate.decision import facts
from mythos_gate.decision.policy import Policy
from mythos_gate.errors import GateError, NotDecided
from mythos_gate.terms import DirectiveClass

Told = dict[str, Any]


async def run(what: str, **asked: Any) -> Told:
    """What one of `WORK` answers. `NotDecided` if it cannot.

    All goes through pipes: what a command line says, others can read.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, what, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        told, _ = await child.communicate(orjson.dumps(asked))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise NotDecided("the analysis failed: the service's log says why")
    found: Told = orjson.loads(told)
    return found


def impact(
    url: str,
    files: dict[str, str] | None = None,
    data_set: str | None = None,
    directives: Sequence[Mapping[str, Any]] = (),
    grants: Mapping[str, Mapping[str, Any]] | None = None,
    switches: Sequence[Mapping[str, Mapping[str, str]]] = (),
) -> Told:
    """Of a draft on those who are on record; `url` is of compliance's role.

    Of each directive the model, and its terms before and after: null where it is not on record, exempt are ids.
    """
    simulating = importlib.import_module("mythos_gate.analysis.impact")
    policy = None if files is None else Policy(files)
    draft = simulating.Draft(
        policy,
        None if data_set is None else asyncio.run(simulating.data_set_at(url, data_set)),
        [
            simulating.Amended(each["model"], *(_directive(each[side]) for side in ("before", "after")))
            for each in directives
        ],
        {
            identifier: {name: simulating.member(name, value) for name, value in each.items()}
            for identifier, each in (grants or {}).items()
        },
        [(_window(each["before"]), _window(each["after"])) for each in switches],
    )
    everybody = asyncio.run(simulating.everybody_at(url, [policy] if policy else []))
    found = simulating.Simulation(everybody, lambda *_: None).impact(draft)
    standing = {"policy": everybody.policy_sha256, "data_set": everybody.data_set}
    return {"figures": found.figures, "apart": found.apart, **standing}


def _directive(terms: Mapping[str, Any] | None) -> tuple[facts.Directive, frozenset[str]] | None:
    """With the organizations that it leaves out."""
    if terms is None:
        return None
    directive = facts.Directive(frozenset(terms["versions"]), DirectiveClass(terms["applies_to"]), _window(terms))
    return directive, frozenset(terms["exempt_organizations"])


def _window(terms: Mapping[str, Any]) -> facts.Window:
    end = terms.get("until") and datetime.fromisoformat(terms["until"])
    return facts.Window(datetime.fromisoformat(terms["from"]), end)


def traffic(url: str, files: dict[str, str], since: str | None, until: str | None) -> Told:
    """Of a policy on what was decided in a period; `url` is of the reader's role."""
    replaying = importlib.import_module("mythos_gate.analysis.traffic")
    period = [each and datetime.fromisoformat(each) for each in (since, until)]
    connect = partial(db.connect, url, DbRole.READER)
    return asdict(asyncio.run(replaying.replay(connect, Policy(files), *period, lambda *_: None)))


def checks(files: dict[str, str], added: Mapping[str, str]) -> Told:
    """What is wrong with a draft, the invariants that were proven, and how many policy cases came out right.

    `added`: files of cases beside those that ship, by their names.
    """
    checking = importlib.import_module("mythos_gate.analysis.checks")
    checked = checking.run(files, checking.standing().joined(added))
    return {
        "passed": checked.passed,
        "findings": [asdict(each) for each in checked.findings],
        "cases": {"passed": checked.cases_passed, "failed": checked.cases_failed},
        "invariants": [{"name": each.invariant.name, "holds": each.holds} for each in checked.proofs],
    }


def explanation(files: dict[str, str], facts: dict[str, str]) -> Told:
    """The smallest change of facts that would turn an answer, and what each audience is told of it."""
    explain = importlib.import_module("mythos_gate.analysis.explain")
    change = explain.smallest_change(Policy(files), facts)
    return {
        "possible": change.possible,
        "steps": [{"fact": each.fact, "before": each.before, "after": each.after} for each in change.steps],
        **{audience.value: [asdict(each) for each in change.actions(audience)] for audience in explain.Audience},
    }


WORK: Mapping[str, Callable[..., Told]] = {
    "impact": impact,
    "traffic": traffic,
    "checks": checks,
    "explanation": explanation,
}


def main() -> None:
    """Reads what is asked from standard input, and writes the answer as JSON."""
    gc.disable()  # nothing is let go of before the end
    asked = orjson.loads(sys.stdin.buffer.read())
    try:
        told = WORK[sys.argv[1]](**asked)
    except GateError as error:
        sys.exit(f"mythos-gate: {error}")
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    main()
