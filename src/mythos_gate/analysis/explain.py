"""What would have to change: the fewest facts with which an answer would be an allow, for each audience."""

from dataclasses import dataclass, replace
from enum import StrEnum

from mythos_gate.analysis import words
from mythos_gate.analysis.world import Answers, World
from mythos_gate.decision.eligibility import TOLD
from mythos_gate.decision.facts import Vector
from mythos_gate.decision.policy import NO_RULE, Policy, Reason, Row
from mythos_gate.terms import Outcome

# Nobody is asked to be somebody else or elsewhere, and what these rest on is not to be mended for one request.
FIXED = ("subject", "integrity", "nationality", "presence", "location")
PERSONAL = frozenset({"nationality", "presence", "location"})


class Audience(StrEnum):
    SUBJECT = "subject"
    ORGANIZATION = "organization"
    COMPLIANCE = "compliance"


@dataclass(frozen=True, slots=True)
class Action:
    """What one audience is told. `how_to_fix` and `fixer` are empty where that is not theirs to know."""

    code: str
    told: str
    how_to_fix: str = ""
    fixer: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One fact to change, with the reasons that speak against it as it is. In words for compliance alone."""

    fact: str
    before: str
    after: str
    reasons: tuple[Reason, ...]

    @property
    def told(self) -> str:
        return f"{words.clause(self.fact, self.before)}: needed is that {words.clause(self.fact, self.after)}"


@dataclass(frozen=True, slots=True)
class Change:
    """`steps`: none for what is allowed already. `against`: reasons for which no change can be proposed, if any."""

    steps: tuple[Step, ...]
    against: tuple[Reason, ...] = ()

    @property
    def possible(self) -> bool:
        return not self.against

    def actions(self, audience: Audience) -> tuple[Action, ...]:
        """Each code once."""
        said = [_told(reason, step.told, audience) for step in self.steps for reason in step.reasons]
        said += [_told(reason, reason.meaning, audience) for reason in self.against]
        return tuple({action.code: action for action in reversed(said)}.values())[::-1]


def _told(reason: Reason, words_for_compliance: str, audience: Audience) -> Action:
    match audience:
        case Audience.COMPLIANCE:
            return Action(reason.code, words_for_compliance, reason.how_to_fix, reason.fixer)
        case Audience.ORGANIZATION if reason.org_admin_sees in TOLD:
            return Action(TOLD[reason.org_admin_sees], "")
        case Audience.ORGANIZATION:
            shown = reason.code if reason.org_admin_sees.startswith("code") else reason.org_admin_sees
            return Action(shown, reason.how_to_fix, reason.how_to_fix, reason.fixer)
        case _:
            theirs = reason.fixer == "subject"
            return Action(
                reason.subject_sees, reason.message, reason.how_to_fix if theirs else "", reason.fixer if theirs else ""
            )


def smallest_change(policy: Policy, facts: Vector) -> Change:
    """To an allow, by as few facts as possible, none of which is in `FIXED`; never by opening a break-glass."""
    if policy.decide(facts).allowed:
        return Change(())
    world = World()
    kept = [world.fact(fact, facts[fact]) for fact in FIXED]
    if facts["break_glass"] != "active":
        kept.append(world.no(world.fact("break_glass", "active")))
    after = world.nearest(Answers(world, policy).of[Outcome.ALLOW], *kept, to=facts)
    matching = [row for row in policy.rows if row.effect == "deny" and row.holds(facts)]
    if after is None:
        return Change((), _against(policy, matching))
    changed = [fact for fact in facts if facts[fact] != after[fact]]
    return Change(
        tuple(Step(fact, facts[fact], after[fact], _reasons(policy, matching, fact, after)) for fact in changed)
    )


def _against(policy: Policy, matching: list[Row]) -> tuple[Reason, ...]:
    """Of the rows that rest on fixed facts alone; if it is none of them, of all."""
    fixed = [row for row in matching if row.cells.keys() <= set(FIXED)] or matching
    found = {row.reason: _mendable(policy.reasons[row.reason], row) for row in fixed}
    return tuple(found.values()) or (policy.reasons[NO_RULE],)


def _mendable(reason: Reason, row: Row) -> Reason:
    """What a review lifts says how; what it would take of a person to be or go elsewhere is not proposed."""
    if row.disposition == Outcome.HOLD or PERSONAL.isdisjoint(row.cells):
        return reason
    return replace(reason, how_to_fix="", fixer="")


def _reasons(policy: Policy, matching: list[Row], fact: str, after: Vector) -> tuple[Reason, ...]:
    """Of the rows that this change takes the ground from."""
    ended = [row.reason for row in matching if after[fact] not in row.cells.get(fact, frozenset({after[fact]}))]
    return tuple(policy.reasons[code] for code in dict.fromkeys(ended or [NO_RULE]))
