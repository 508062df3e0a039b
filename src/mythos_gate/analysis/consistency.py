"""What facts say of each other: rules that every vector of `facts.derive` keeps, whatever is on record.

A proof looks at all vectors that keep them. Rules can only leave vectors out: each must be true of any records and
data set, and one that is missing makes a proof harder, never wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mythos_gate.decision.facts import UNKNOWN_SUBJECT, Vector
from mythos_gate.decision.policy import parse_when

Cells: TypeAlias = Mapping[str, frozenset[str]]

# Nothing stands against it: a US person at home, whom every authority covers.
ORDINARY: Vector = {
    "integrity": "sound", "subject": "person", "stop": "none", "directive": "none", "organization": "active",
    "ownership": "clear", "vendor": "covered", "government": "covered", "person": "active", "presence": "us_domestic",
    "screening": "clear", "nationality": "not_assessed", "location": "permitted", "endpoint": "attested",
    "session": "strong", "training": "current", "agreements": "signed", "approval": "complete", "review": "current",
    "agent": "none", "break_glass": "none",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """Where `when` holds, `then` does. `why`: what of the derivation it follows from."""

    when: Cells
    then: Cells
    why: str

    def keeps(self, facts: Vector) -> bool:
        return not holds(self.when, facts) or holds(self.then, facts)


def holds(cells: Cells, facts: Vector) -> bool:
    return all(facts[fact] in values for fact, values in cells.items())


def consistent(facts: Vector) -> bool:
    """Whether nothing is known that keeps records from giving these facts."""
    return all(rule.keeps(facts) for rule in RULES)


FOREIGN = "presence=foreign_domestic|foreign_abroad"
AT_HOME = "presence=us_domestic|foreign_domestic"
NO_CODE_DEFECT = "nationality=!unknown_code|historical|indeterminate"

# The cells as in access.csv.
_WRITTEN = (
    (
        "subject=unknown",
        "; ".join(f"{fact}={value}" for fact, value in UNKNOWN_SUBJECT.items()),
        "of nobody on record every fact about them is the one that denies",
    ),
    ("subject=person", "agent=none", "a person is no agent"),
    ("subject=agent", "agent=!none", "an agent is in some state"),
    ("subject=agent", "session=strong", "an agent proves itself by its credential"),
    (FOREIGN, "nationality=!not_assessed", "a foreign person's nationality is assessed"),
    ("nationality=!not_assessed", FOREIGN, "nobody else's is"),
    *(
        rule
        for fact in ("vendor", "government")
        for rule in (
            (f"{fact}=nationality|foreign_nationals", FOREIGN, "only foreign persons can be outside a grant as such"),
            (f"{fact}=agents|agent_runtime", "subject=agent", "only an agent can be outside a grant as such"),
            (f"{fact}=contractor", "person=!ended", "a contractor works there"),
            (
                f"{fact}=agent_runtime; {AT_HOME}",
                "location=embargoed|unverified",
                "where both places are the United States, only a code without a row is not permitted with the other",
            ),
        )
    ),
    *(
        (
            f"{fact}=nationality; {other}=nationality|none",
            NO_CODE_DEFECT,
            "whom each grant excludes by a country has countries, of which each is known, under each basis",
        )
        for fact, other in (("vendor", "government"), ("government", "vendor"))
    ),
)

RULES: tuple[Rule, ...] = tuple(Rule(parse_when(when), parse_when(then), why) for when, then, why in _WRITTEN)
