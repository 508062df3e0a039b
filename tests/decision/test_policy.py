"""The table by Casbin: the answer, and each way in which a table or Casbin could fail open."""

import csv
import io
import itertools
import random
import re

import casbin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mythos_gate.decision.policy import FILES, REMEMBERED, Policy, content_hash
from mythos_gate.errors import Invalid
from mythos_gate.settings import root
from mythos_gate.terms import FACTS, Outcome

BASELINE = {name: (root() / "policies" / name).read_text() for name in FILES}
POLICY = Policy(BASELINE)
FINE = {
    "integrity": "sound", "subject": "person", "stop": "none", "directive": "none", "organization": "active",
    "ownership": "clear", "vendor": "covered", "government": "covered", "person": "active", "presence": "us_domestic",
    "screening": "clear", "nationality": "not_assessed", "location": "permitted", "endpoint": "attested",
    "session": "strong", "training": "current", "agreements": "signed", "approval": "complete", "review": "current",
    "agent": "none", "break_glass": "none",
}  # fmt: skip
VECTORS = st.fixed_dictionaries({fact: st.sampled_from(values) for fact, values in FACTS.items()})
# Mostly fine, so that allows and single denials occur.
NEARLY_FINE = st.dictionaries(st.sampled_from(sorted(FACTS)), st.randoms(use_true_random=False), max_size=3).map(
    lambda changes: FINE | {fact: rng.choice(FACTS[fact]) for fact, rng in changes.items()}
)


def table(*rows: str) -> dict[str, str]:
    header = "row,priority,tier,effect,disposition,reason,bypassable,when"
    return BASELINE | {"access.csv": "\n".join([header, *rows]) + "\n"}


ALLOW = "a,900,allow,allow,ALLOW,ALLOW,-,vendor=covered"
DENY = "d,10,person,deny,DENY,PERSON_SUSPENDED,no,person=suspended"


def test_all_is_fine_and_allowed():
    assert POLICY.decide(FINE).codes == ("ALLOW",)


class Stock:
    """The same model and rows by untouched enforcers, their own effector and a `holds` written anew."""

    def __init__(self, access: str = BASELINE["access.csv"]) -> None:
        self.rows = [list(row.values()) for row in csv.DictReader(io.StringIO(access))]
        self._whole = self._enforcer(self.rows)
        # One for each row, there to allow: then it says whether its row matches.
        self._each = {row[0]: self._enforcer([[*row[:3], "allow", *row[4:]]]) for row in self.rows}

    def allows(self, facts: dict[str, str]) -> bool:
        return self._asked(self._whole, facts, bypass=facts["break_glass"] == "active")

    def matching(self, facts: dict[str, str]) -> list[str]:
        return [name for name, enforcer in self._each.items() if self._asked(enforcer, facts, bypass=False)]

    @staticmethod
    def _asked(enforcer: casbin.Enforcer, facts: dict[str, str], *, bypass: bool) -> bool:
        return bool(enforcer.enforce(facts, bypass, []))

    @staticmethod
    def _enforcer(rows: list[list[str]]) -> casbin.Enforcer:
        enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=BASELINE["model.conf"]))
        for row in rows:
            enforcer.add_policy(*row)
        enforcer.add_function("holds", holds)
        enforcer.add_function("noted", lambda hits, row: True)
        return enforcer


def holds(vector: dict[str, str], when: str) -> bool:
    for cell in when.split("; "):
        fact, _, values = cell.partition("=")
        if (vector[fact] in values.lstrip("!").split("|")) == values.startswith("!"):
            return False
    return True


STOCK = Stock()


@settings(max_examples=150)
@given(VECTORS | NEARLY_FINE)
def test_the_answer_and_all_its_rows_are_those_of_stock_casbin(facts):
    decision = POLICY.decide(facts)
    assert STOCK.allows(facts) == decision.allowed
    assert STOCK.matching(facts) == list(decision.rows)


CELLS = st.dictionaries(
    st.sampled_from(sorted(FACTS)), st.tuples(st.booleans(), st.randoms(use_true_random=False)), min_size=1, max_size=3
)


@st.composite
def tables(draw: st.DrawFn) -> str:
    """A valid table: the baseline's rows in part, with other conditions, passed over or not, in another order."""
    lines = BASELINE["access.csv"].splitlines()
    rows = [next(csv.reader([line])) for line in lines[1:]]
    denies = draw(
        st.lists(st.sampled_from([row for row in rows if row[3] == "deny"]), min_size=1, max_size=12, unique_by=tuple)
    )
    allows = draw(st.lists(st.sampled_from([row for row in rows if row[3] == "allow"]), min_size=1, unique_by=tuple))
    made = []
    for row in denies:
        cells = draw(CELLS)
        when = "; ".join(
            f"{fact}={'!' if negated else ''}{'|'.join(rng.sample(FACTS[fact], rng.randint(1, len(FACTS[fact]) - 1)))}"
            for fact, (negated, rng) in cells.items()
        )
        embargo = any(fact in {"nationality", "location"} for fact in cells)
        made.append([*row[:6], "no" if embargo else draw(st.sampled_from(["yes", "no"])), when])
    table = draw(st.permutations(made + allows))
    return "\n".join([lines[0], *(",".join(row) for row in table)]) + "\n"


@settings(max_examples=60, deadline=None)
@given(tables(), st.lists(VECTORS | NEARLY_FINE, min_size=1, max_size=5))
def test_what_is_remembered_is_what_casbin_says_of_any_table(access, vectors):
    policy, stock = Policy(BASELINE | {"access.csv": access}), Stock(access)
    for facts in vectors:
        first = policy.decide(facts)
        assert policy.decide(dict(reversed(facts.items()))) is first
        assert first == policy._decide(facts)
        assert first.allowed == stock.allows(facts)
        assert list(first.rows) == stock.matching(facts)


def test_two_revisions_remember_apart():
    other = Policy(table(ALLOW, "d,10,person,deny,DENY,PERSON_SUSPENDED,no,endpoint=attested"))
    assert (POLICY.decide(FINE).allowed, other.decide(FINE).allowed, POLICY.decide(FINE).allowed) == (True, False, True)


def test_what_is_remembered_is_bounded():
    policy = Policy(BASELINE)
    vectors = itertools.islice(
        (FINE | {"presence": a, "location": b, "session": c, "endpoint": d, "training": e, "review": f, "vendor": g, "person": h}
         for a, b, c, d, e, f, g, h in itertools.product(*(FACTS[fact] for fact in (
             "presence", "location", "session", "endpoint", "training", "review", "vendor", "person")))),
        50,
    )  # fmt: skip
    for facts in vectors:
        policy.decide(facts)
    told = policy._remembered.cache_info()
    assert (told.currsize, told.maxsize) == (50, REMEMBERED)


def test_a_vector_that_is_no_vector_is_refused_though_its_like_is_remembered():
    POLICY.decide(FINE)
    for wrong in (FINE | {"colour": "red"}, FINE | {"stop": "x"}, dict(list(FINE.items())[1:])):
        with pytest.raises(Invalid):
            POLICY.decide(wrong)


@given(NEARLY_FINE)
def test_what_allows_has_no_deny_that_counts(facts):
    decision = POLICY.decide(facts)
    bypass = facts["break_glass"] == "active"
    denies = [
        row
        for row in POLICY.rows
        if row.row in decision.rows and row.effect == "deny" and not (bypass and row.bypassable)
    ]
    assert decision.allowed == (
        not denies and any(row.effect == "allow" for row in POLICY.rows if row.row in decision.rows)
    )


def test_nothing_matched_is_no_applicable_rule_alone():
    only_vendor = Policy(table(ALLOW, DENY))
    decision = only_vendor.decide(FINE | {"vendor": "seat", "break_glass": "active"})
    assert (decision.outcome, decision.codes) == (Outcome.DENY, ("NO_APPLICABLE_RULE",))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "rows that allow and rows that deny"),
        ((DENY,), "rows that allow and rows that deny"),
        ((ALLOW,), "rows that allow and rows that deny"),
        ((ALLOW, DENY.replace("deny,DENY", "Deny,DENY")), "line 3: row 'd': 'Deny' is not one of allow, deny"),
        ((ALLOW, DENY + ",extra"), "line 3: a row has 8 cells"),
        ((ALLOW, DENY.rpartition(",")[0]), "line 3: a row has 8 cells"),
        ((ALLOW, DENY, DENY), "row 'd' stands twice"),
        ((ALLOW, DENY.replace("person=suspended", "persn=suspended")), "'persn' is not a fact"),
        ((ALLOW, DENY.replace("=suspended", "=suspendd")), "person is never 'suspendd'"),
        ((ALLOW, DENY.replace("=suspended", "=")), "person is never ''"),
        ((ALLOW, DENY.replace("person=suspended", "")), "'' is not a fact"),
        ((ALLOW, DENY.replace("suspended", "suspended; person=ended")), "named twice"),
        ((ALLOW, DENY.replace("=suspended", "=!suspended|ended|active")), "can never match"),
        ((ALLOW, DENY.replace("PERSON_SUSPENDED", "NO_SUCH_CODE")), "'NO_SUCH_CODE' is not in reasons.csv"),
        ((ALLOW, DENY.replace("deny,DENY", "deny,ALLOW")), "must all allow or all deny"),
        ((ALLOW, DENY, DENY.replace("d,10", "e,10").replace("deny,DENY", "allow,DENY")), "must all allow or all deny"),
        ((ALLOW, DENY.replace(",10,", ",first,")), "line 3"),
        ((ALLOW, DENY.replace(",no,", ",maybe,")), "'maybe' is not one of yes, no, -"),
        ((ALLOW.replace("vendor=covered", "person=active"), DENY), "names the vendor's coverage"),
        (
            (ALLOW, DENY.replace("no,person=suspended", "yes,nationality=embargoed|clear")),
            "an embargo is never bypassable",
        ),
        ((ALLOW, DENY.replace("no,person=suspended", "yes,location=embargoed")), "an embargo is never bypassable"),
        ((ALLOW.replace(",-,", ",yes,"), DENY), "only a deny can be bypassable"),
    ],
)
def test_a_table_that_could_fail_open_is_refused(rows, message):
    with pytest.raises(Invalid) as refused:
        Policy(table(*rows))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("messages.csv", "OK,", "messages.csv: no message for 'OK'"),
        ("reasons.csv", "NO_APPLICABLE_RULE,", "reasons.csv: NO_APPLICABLE_RULE is missing"),
        ("reasons.csv", "BREAK_GLASS_NOT_PERMITTED,", "reasons.csv: BREAK_GLASS_NOT_PERMITTED is missing"),
        ("reasons.csv", "AGENT_SPONSOR_DENIED,", "reasons.csv: AGENT_SPONSOR_DENIED is missing"),
    ],
)
def test_a_code_that_could_not_be_told_is_refused(name, line, message):
    kept = [each for each in BASELINE[name].splitlines(keepends=True) if not each.startswith(line)]
    with pytest.raises(Invalid) as refused:
        Policy(BASELINE | {name: "".join(kept)})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "model",
    [
        BASELINE["model.conf"].replace(
            "some(where (p.eft == allow)) && !some(where (p.eft == deny))", "some(where (p.eft == allow))"
        ),
        BASELINE["model.conf"].replace('!(r.bypass && p.bypassable == "yes") && ', ""),
        BASELINE["model.conf"].replace("holds(r.facts, p.when) && ", ""),
        BASELINE["model.conf"].replace("&& noted(r.hits, p.row)", ""),
        "",
        "[request_definition]\nr = facts, bypass, hits\n",
    ],
    ids=["denies do not override", "no bypass", "every row matches", "rows are not recorded", "empty", "half a model"],
)
def test_a_model_that_decides_otherwise_than_the_gate_is_refused(model):
    with pytest.raises(Invalid, match=r"model\.conf"):
        Policy(BASELINE | {"model.conf": model})


@pytest.mark.parametrize("change", [{"person": "suspendd"}, {"persn": "active"}], ids=["value", "fact"])
def test_an_unknown_fact_or_value_is_refused(change):
    with pytest.raises(Invalid):
        POLICY.decide(FINE | change)


def test_a_missing_fact_is_refused():
    with pytest.raises(Invalid, match="stop"):
        POLICY.decide({fact: value for fact, value in FINE.items() if fact != "stop"})


LINKS = "\n[role_definition]\ng = _, _, (_, _)\n"


@pytest.mark.parametrize("link", ['g(r.facts["subject"], "person")', "g(p.row, p.reason)"])
def test_conditional_links_decide_nothing(link):
    """Casbin takes a link under a condition for one without: no file of a revision can hold links."""
    with pytest.raises(Invalid, match="a row has 8 cells"):
        Policy(table(ALLOW, DENY, "g,agent,person"))
    model = BASELINE["model.conf"].replace("&& noted", f"&& {link} && noted") + LINKS
    assert link in model
    with pytest.raises(Invalid, match="does not decide as its table says"):
        Policy(BASELINE | {"model.conf": model})


# --- enable_enforce(False) makes stock Casbin allow everything ----------------------------------------------------


def test_an_enforcer_that_was_switched_off_allows_nothing():
    policy = Policy(BASELINE)
    policy._enforcer.enable_enforce(False)
    with pytest.raises(Invalid):
        policy.decide(FINE | {"person": "suspended"})
    with pytest.raises(Invalid):
        policy.decide(FINE | {"vendor": "none"})


def test_nothing_switches_an_enforcer_off():
    assert callable(casbin.Enforcer.enable_enforce)
    sources = {path: path.read_text() for path in (root() / "src").rglob("*.py")}
    assert any("casbin.Enforcer(" in text for text in sources.values())
    assert [path for path, text in sources.items() if re.search(r"\.enable_\w+\(", text)] == []


def test_a_policy_hands_out_no_enforcer():
    shown = [getattr(POLICY, name) for name in dir(POLICY) if not name.startswith("_")]
    assert len(shown) > 3
    assert not any(type(each).__module__.startswith("casbin") for each in shown)


@pytest.mark.parametrize("line", ["enabled = false", "[enforce]\nenabled = false", "[config]\nenable_enforce = false"])
def test_a_model_cannot_switch_itself_off(line):
    policy = Policy(BASELINE | {"model.conf": f"{BASELINE['model.conf']}\n{line}\n"})
    assert policy._enforcer.enabled
    assert policy.decide(FINE | {"person": "suspended"}) == POLICY.decide(FINE | {"person": "suspended"})


def test_the_hash_changes_with_every_file():
    rng = random.Random(1)
    hashes = {content_hash(BASELINE)} | {
        content_hash(BASELINE | {name: BASELINE[name] + str(rng.random())}) for name in FILES
    }
    assert len(hashes) == len(FILES) + 1


def test_the_hash_changes_when_text_moves_from_one_file_to_the_next():
    first, second = FILES[:2]
    moved = {first: BASELINE[first] + BASELINE[second], second: ""}
    assert content_hash(BASELINE | moved) != content_hash(BASELINE)
