"""The peers' policies say what the table says: each text, read by the few operators that it uses, decides like ours."""

import random
import re

import pytest
import yaml

from bench import translate
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import root
from mythos_gate.terms import FACTS

POLICY = Policy(read_files(root() / "policies"))
GOOD = {
    "integrity": "sound", "subject": "person", "stop": "none", "directive": "none", "organization": "active",
    "ownership": "clear", "vendor": "covered", "government": "covered", "person": "active", "presence": "us_abroad",
    "screening": "clear", "nationality": "not_assessed", "location": "permitted", "endpoint": "attested",
    "session": "strong", "training": "current", "agreements": "signed", "approval": "complete", "review": "current",
    "agent": "none", "break_glass": "none",
}  # fmt: skip


def python(expression: str) -> str:
    """The expression with Python's operators, over a dictionary named `facts`."""
    turned = re.sub(r"(\[[^\]]*\])\.contains\(([\w.]+)\)", r"\2 in \1", expression)
    return (
        re.sub(r"\b(?:R\.attr|context|input)\.(\w+)", r'facts["\1"]', turned).replace("&&", "and").replace("||", "or")
    )


def cerbos() -> list[tuple[bool, str]]:
    """Whether each condition allows, with the condition."""
    rules = yaml.safe_load(translate.cerbos(POLICY.rows))["resourcePolicy"]["rules"]
    return [(rule["effect"] == "EFFECT_ALLOW", rule["condition"]["match"]["expr"]) for rule in rules]


def cedar() -> list[tuple[bool, str]]:
    pattern = r"(permit|forbid) \(principal, action, resource\) when \{ (.*?) \}(?: unless \{ (.*?) \})?;"
    found = re.findall(pattern, translate.cedar(POLICY.rows))
    return [(effect == "permit", f"({when}) and not ({unless})" if unless else when) for effect, when, unless in found]


def rego() -> list[tuple[bool, str]]:
    found = re.findall(r"^(permitted|denied) if \{\n(.*?)\n\}$", translate.rego(POLICY.rows), re.DOTALL | re.MULTILINE)
    return [(head == "permitted", " and ".join(map(str.strip, body.splitlines()))) for head, body in found]


@pytest.mark.parametrize("language", [cerbos, cedar, rego])
def test_each_decides_like_the_table(language):
    conditions = [(allows, compile(python(text), language.__name__, "eval")) for allows, text in language()]
    chance = random.Random(1)
    allowed = 0
    for _ in range(2_000):
        changed = chance.sample(list(FACTS), chance.choice((0, 1, 1, 2, 4)))
        facts = GOOD | {fact: chance.choice(list(FACTS[fact])) for fact in changed}
        holding = {allows for allows, condition in conditions if eval(condition, {"facts": facts})}
        assert (holding == {True}) is POLICY.decide(facts).allowed, facts
        allowed += holding == {True}
    assert 400 < allowed < 1_600


def test_no_row_is_left_out():
    assert len(cedar()) == len(rego()) == len(POLICY.rows)
    assert sum(text.count("(") for _, text in cerbos()) == len(POLICY.rows)
