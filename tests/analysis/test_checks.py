"""What is wrong with a draft, in words."""

import pytest

from mythos_gate.analysis import checks
from mythos_gate.analysis.checks import Kind
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import root

BASELINE = read_files(root() / "policies")
TABLE = BASELINE["access.csv"]
SUITE = checks.standing()


def run(table: str) -> checks.Checked:
    return checks.run(BASELINE | {"access.csv": table}, SUITE)


def of_table(table: str) -> list[tuple[Kind, str, str]]:
    found = checks.table(Policy(BASELINE | {"access.csv": table}))
    return [(each.kind, each.about, each.message) for each in found]


def test_the_shipped_policy_passes():
    checked = checks.run(BASELINE)
    assert checked.passed
    assert checked.findings == ()
    assert checked.cases_passed > 300
    assert checked.cases_failed == 0
    assert len(checked.proofs) > 20


@pytest.mark.parametrize(
    ("row", "finding"),
    [
        (
            "x,12,person,deny,DENY,PERSON_SUSPENDED,no,vendor=agents; subject=person",
            (Kind.NEVER_MATCHES, "x", "row 'x' can never match: no records give vendor=agents; subject=person: only an agent can be outside a grant as such"),
        ),
        (
            "x,55,relationship,deny,DENY,PERSON_SUSPENDED,no,person=suspended; review=overdue",
            (Kind.COVERED, "x", "row 'x' changes no answer: all that it matches, 'person-suspended' matches with the same effect"),
        ),
        (
            "x,900,allow,allow,ALLOW,ALLOW,-,vendor=covered; government=covered; subject=agent",
            (Kind.COVERED, "x", "row 'x' changes no answer: all that it matches, 'both-authorities' matches with the same effect"),
        ),
        (
            "x,900,allow,allow,ALLOW,ALLOW,-,vendor=none",
            (Kind.ALLOWS_NOBODY, "x", "row 'x' allows nobody: others deny all that it matches"),
        ),
    ],
)  # fmt: skip
def test_a_row_that_does_nothing_is_told(row, finding):
    assert of_table(f"{TABLE}{row}\n") == [finding]


@pytest.mark.parametrize(
    "row",
    [
        "x,54,relationship,deny,DENY,PERSON_SUSPENDED,no,person=suspended; review=overdue",  # it would speak first
        "x,55,relationship,deny,HOLD,PERSON_SUSPENDED,no,person=suspended; review=overdue",
        "x,55,obligations,deny,DENY,PERSON_SUSPENDED,no,person=suspended; review=overdue",
        "x,55,relationship,deny,DENY,EMPLOYMENT_ENDED,no,person=suspended; review=overdue",
        "x,70,obligations,deny,DENY,TRAINING_EXPIRED,no,training=expired; subject=agent",  # no break-glass passes it
    ],
)
def test_a_row_within_another_that_answers_otherwise_is_none_of_these(row):
    assert of_table(f"{TABLE}{row}\n") == []


def test_a_row_may_be_covered_by_several_together():
    several = "x,20,organization,deny,DENY,ORG_NOT_AUTHORIZED,no,organization=prospect|terminated|suspended\n"
    halves = "y,20,organization,deny,DENY,ORG_NOT_AUTHORIZED,no,organization=suspended\n"
    assert [each[:2] for each in of_table(TABLE + several)] == [(Kind.COVERED, "not-active")]
    ((kind, about, message),) = of_table(TABLE + halves + several)
    assert (kind, about) == (Kind.COVERED, "x")
    assert "'not-active', 'y' matches" in message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.replace("session=weak", "session=week"), "access.csv: line 61: row 'session-weak': session is never 'week'"),
        (TABLE.replace("session=weak", "sesion=weak"), "access.csv: line 61: row 'session-weak': 'sesion' is not a fact"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_the_only_finding(table, message):
    (finding,) = run(table).findings
    assert finding.kind == Kind.UNREADABLE
    assert finding.message.startswith(message)
    assert checks.run({}).findings == (checks.Finding(Kind.UNREADABLE, "", "model.conf is missing"),)


def test_a_case_that_comes_out_otherwise_and_an_invariant_that_is_broken_are_told():
    checked = run(
        "".join(line for line in TABLE.splitlines(keepends=True) if not line.startswith("approval-incomplete"))
    )
    assert not checked.passed
    assert checked.cases_failed == len([each for each in checked.findings if each.kind == Kind.CASE]) > 0
    (broken,) = [each for each in checked.findings if each.kind == Kind.INVARIANT]
    assert broken.message == (
        "complete-approval (never allow where approval=incomplete): is broken: the policy allows when"
        " the person's approval is incomplete; everything else is in order"
    )
    one = next(each for each in checked.findings if each.about == "no-approver")
    assert one.message.startswith(
        "case no-approver 'Nobody has approved.' of obligations.json comes out otherwise: decision: expected DENY"
    )
