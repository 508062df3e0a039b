"""Analyses in a process of their own: they take all cores for a while, and must not make an answer wait."""

import asyncio
import gc
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from mythos_gate.decision.policy import Policy
from mythos_gate.errors import GateError, NotDecided

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


def impact(url: str, files: dict[str, str]) -> Told:
    """Of a policy on those who are on record; `url` is of compliance's role."""
    simulating = importlib.import_module("mythos_gate.analysis.impact")
    policy = Policy(files)
    everybody = asyncio.run(simulating.everybody_at(url, [policy]))
    found = simulating.Simulation(everybody, lambda *_: None).impact(simulating.Draft(policy))
    standing = {"policy": everybody.policy_sha256, "data_set": everybody.data_set}
    return {"figures": found.figures, "apart": found.apart, **standing}


def checks(files: dict[str, str]) -> Told:
    """What is wrong with a draft, the invariants that were proven, and how many policy cases came out right."""
    checked = importlib.import_module("mythos_gate.analysis.checks").run(files)
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


WORK: Mapping[str, Callable[..., Told]] = {"impact": impact, "checks": checks, "explanation": explanation}


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
