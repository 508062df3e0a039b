"""Checks of a draft: what is wrong with a policy before anybody is asked by it, in words for an officer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from mythos_gate.analysis import proofs
from mythos_gate.analysis.consistency import RULES
from mythos_gate.analysis.proofs import Invariant, Proof
from mythos_gate.analysis.world import Answers, World
from mythos_gate.decision import cases
from mythos_gate.decision.facts import Jurisdictions
from mythos_gate.decision.policy import FILES, Policy, Row
from mythos_gate.errors import Invalid
from mythos_gate.settings import root
from mythos_gate.terms import Outcome


class Kind(StrEnum):
    UNREADABLE = "unreadable"
    NEVER_MATCHES = "never_matches"
    COVERED = "covered"
    ALLOWS_NOBODY = "allows_nobody"
    CASE = "case"
    INVARIANT = "invariant"


@dataclass(frozen=True, slots=True)
class Finding:
    """`about`: the row, case or invariant that is meant."""

    kind: Kind
    about: str
    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    findings: tuple[Finding, ...]
    cases_passed: int = 0
    cases_failed: int = 0
    proofs: tuple[Proof, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.findings


@dataclass(frozen=True, slots=True)
class Suite:
    """What a draft is held against: policy cases by the names of their files, and what it must never allow."""

    cases: Mapping[str, cases.CaseFile]
    jurisdictions: Jurisdictions
    invariants: tuple[Invariant, ...]

    def joined(self, added: Mapping[str, str]) -> "Suite":
        """With these files of cases as well, their texts by their names."""
        files = {f"added/{name}": cases.read(each) for name, each in added.items()}
        return replace(self, cases={**self.cases, **files})


def standing(folder: Path | None = None) -> Suite:
    """The one that ships with the product, or another folder of its form."""
    folder = folder or root() / "policies"
    files = sorted((folder / "cases").glob("*.json"))
    return Suite(
        {file.name: cases.read(file.read_text(encoding="utf-8")) for file in files},
        cases.read_jurisdictions((folder / "jurisdictions.csv").read_text(encoding="utf-8")),
        proofs.read((folder / proofs.FILE).read_text(encoding="utf-8")),
    )


def run(files: Mapping[str, str], suite: Suite | None = None) -> Checked:
    """Everything about the files of a revision. A second or so: in a thread, where others wait."""
    suite = suite or standing()
    try:
        policy = _built(files)
    except Invalid as error:
        return Checked((Finding(Kind.UNREADABLE, "", str(error)),))
    results = [
        (name, result) for name, file in suite.cases.items() for result in cases.run(file, policy, suite.jurisdictions)
    ]
    proven = proofs.prove(policy, suite.invariants)
    failed = [(name, result) for name, result in results if result.differences]
    findings = (
        *table(policy),
        *(Finding(Kind.CASE, result.scenario.id, _of_case(name, result)) for name, result in failed),
        *(Finding(Kind.INVARIANT, proof.invariant.name, proof.told) for proof in proven if not proof.holds),
    )
    return Checked(findings, len(results) - len(failed), len(failed), proven)


def _built(files: Mapping[str, str]) -> Policy:
    if missing := [name for name in FILES if name not in files]:
        raise Invalid(f"{missing[0]} is missing")
    return Policy(files)


def _of_case(file: str, result: cases.Result) -> str:
    differences = (f"{name}: expected {expected}, got {got}" for name, (expected, got) in result.differences.items())
    case = f"case {result.scenario.id} {result.scenario.title!r} of {file}"
    return f"{case} comes out otherwise: {'; '.join(differences)}"


# --- the table ------------------------------------------------------------------------------------------------


def table(policy: Policy) -> tuple[Finding, ...]:
    """Rows that do nothing, whoever asks."""
    world = World()
    answers = Answers(world, policy)
    dead = [row for row in policy.rows if not world.possible(answers.matches(row))]
    live = [row for row in policy.rows if row not in dead]
    return (
        *(Finding(Kind.NEVER_MATCHES, row.row, _never(row)) for row in dead),
        *_covered(world, answers, live),
        *(
            Finding(Kind.ALLOWS_NOBODY, row.row, f"row {row.row!r} allows nobody: others deny all that it matches")
            for row in live
            if row.effect == "allow" and not world.possible(answers.matches(row), answers.of[Outcome.ALLOW])
        ),
    )


def _never(row: Row) -> str:
    said = f"row {row.row!r} can never match: no records give {row.when}"
    for rule in RULES:
        world = World(rules=(rule,))
        if not world.possible(world.cells(row.cells)):
            return f"{said}: {rule.why}"
    return said


def _covered(world: World, answers: Answers, rows: Sequence[Row]) -> Iterator[Finding]:
    """From the table's end, so that of two that cover each other the first stays."""
    kept = list(rows)
    for row in reversed(rows):
        others = [other for other in kept if other is not row and _does_the_same(other, row)]
        if not _is_within(world, answers, row, others):
            continue
        kept.remove(row)
        # Of several, those that it takes.
        needed = list(others)
        for other in others:
            fewer = [each for each in needed if each is not other]
            needed = fewer if _is_within(world, answers, row, fewer) else needed
        names = ", ".join(repr(other.row) for other in needed)
        message = f"row {row.row!r} changes no answer: all that it matches, {names} matches with the same effect"
        yield Finding(Kind.COVERED, row.row, message)


def _is_within(world: World, answers: Answers, row: Row, others: Iterable[Row]) -> bool:
    elsewhere = world.no(world.some(map(answers.matches, others)))
    return not world.possible(answers.matches(row), elsewhere)


def _does_the_same(other: Row, row: Row) -> bool:
    """Where both match, no answer is another without `row`. What an allow is called, no answer tells."""
    if row.effect == "allow":
        return other.effect == "allow"
    same = ("effect", "tier", "disposition", "reason", "bypassable")
    return other.priority <= row.priority and all(getattr(other, name) == getattr(row, name) for name in same)
