"""Thresholds of a revision: what they are, what they may be, and that decisions are made by them."""

from datetime import timedelta

import pytest

from mythos_gate.decision import thresholds
from mythos_gate.decision.facts import Thresholds
from mythos_gate.decision.policy import FILES, Policy, content_hash, read_files
from mythos_gate.errors import Invalid
from mythos_gate.settings import root

TEXT = (root() / "policies" / thresholds.FILE).read_text()


def test_the_baseline_sets_what_the_product_has_without_a_file():
    assert thresholds.parse(TEXT) == thresholds.parse(None) == Thresholds()


def test_each_is_set_in_its_unit():
    changed = TEXT.replace("screening_age,48", "screening_age,24").replace("agent_depth,1", "agent_depth,3")
    parsed = thresholds.parse(changed)
    assert (parsed.screening_age, parsed.agent_depth) == (timedelta(hours=24), 3)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("threshold,value,unit", "threshold,unit,value", "line 1: the columns must be"),
        ("agent_depth,1,agents", "agent_dept,1,agents", "line 7: 'agent_dept' is not one of"),
        ("agent_depth,1,agents", "approvers,2,people", "line 8: approvers stands twice"),
        ("agent_depth,1,agents\n", "", "agent_depth is missing"),
        ("approvers,2,people", "approvers,1,people", "approvers is a whole number from 2 to 5"),
        ("break_glass,8,hours", "break_glass,9,hours", "break_glass is a whole number from 1 to 8"),
        ("blocked_percent,50", "blocked_percent,51", "blocked_percent is a whole number from 1 to 50"),
        ("screening_age,48,hours", "screening_age,48,days", "the unit of screening_age is hours"),
        ("screening_age,48,hours", "screening_age,48", "the unit of screening_age is hours"),
        ("screening_age,48,hours", "screening_age,48,hours,", "the unit of screening_age is hours"),
        ("screening_age,48", "screening_age,4.8", "screening_age is a whole number"),
        ("screening_age,48", "screening_age,-48", "screening_age is a whole number"),
        ("screening_age,48", "screening_age,٤٨", "screening_age is a whole number"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(old, new, what):
    assert old in TEXT
    with pytest.raises(Invalid, match=r"thresholds\.csv") as error:
        thresholds.parse(TEXT.replace(old, new))
    assert what in str(error.value)


def test_a_revision_without_the_file_keeps_its_hash():
    files = read_files(root() / "policies")
    before = {name: files[name] for name in FILES}
    assert thresholds.FILE in files
    assert content_hash(before) != content_hash(files)
    assert Policy(before).thresholds == Policy(files).thresholds
