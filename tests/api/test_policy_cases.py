"""Policy cases that officers add: every later draft is held against them, until two lift them."""

import json

import pytest

from mythos_gate.registry.policy_reports import Draft
from mythos_gate.terms import ReportKind, Role
from tests.api.test_policies import BASELINE
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import POLICIES

pytestmark = pytest.mark.anyio
FILE = json.loads((POLICIES / "cases" / "agents.json").read_text())
OTHER = BASELINE | {"messages.csv": BASELINE["messages.csv"] + "\n"}


def one(expected):
    """The first of the shipped cases, expected to come out so."""
    case = FILE["scenarios"][0]
    return FILE | {"scenarios": [case | {"id": "X-1", "expect": case["expect"] | {"decision": expected}}]}


def contrary():
    decision = FILE["scenarios"][0]["expect"]["decision"]
    return one("DENY" if decision == "ALLOW" else "ALLOW")


async def findings(officer):  # noqa: F811
    made = (await officer("POST", "policies", {"files": OTHER})).json().get("id")
    made = made or (await officer("GET", "policies")).json()["items"][-1]["id"]
    return made, (await officer("POST", f"policies/{made}/checks")).json()["figures"]["findings"]


async def test_a_draft_is_held_against_a_case_that_was_added_until_two_lift_it(service, officer, second):  # noqa: F811
    made, found = await findings(officer)
    assert found == []
    await service.simulated(Draft(made), kinds=[ReportKind.IMPACT])
    added = await officer("POST", "policy-cases", {"name": "agents.json", "file": contrary()})
    assert (added.status_code, added.json()["failing_now"]) == (201, ["X-1"]), added.text
    # What was checked before it was added does not count any more.
    stale = await officer("POST", f"policies/{made}/activate")
    assert (stale.status_code, "check it again" in stale.json()["detail"]) == (403, True)
    _, [failed] = await findings(officer)
    assert (failed["kind"], failed["about"]) == ("case", "X-1")
    assert "comes out otherwise: decision: expected" in failed["message"]
    refused = await officer("POST", f"policies/{made}/activate")
    assert (refused.status_code, "must not be put in force" in refused.json()["detail"]) == (403, True)

    path = added.headers["location"].removeprefix("/v1/")
    assert (await officer("GET", path)).json()["file"] == contrary()
    lift = await officer("POST", f"{path}/lift")
    assert (await officer.approve(lift.json()["id"])).status_code == 403
    _, [failed] = await findings(officer)
    assert (await second.approve(lift.json()["id"])).status_code == 200
    assert (await officer("GET", "policy-cases")).json()["items"] == []
    [lifted] = (await officer("GET", "policy-cases?lifted=true")).json()["items"]
    assert (lifted["id"], lifted["lifted_at"] is not None) == (added.json()["id"], True)
    assert (await findings(officer))[1] == []
    assert (await officer("POST", f"policies/{made}/activate")).status_code == 202


async def test_shipped_cases_stay_beside_those_of_the_same_name(officer):  # noqa: F811
    shipped = sum(len(json.loads(path.read_text())["scenarios"]) for path in (POLICIES / "cases").glob("*.json"))
    decision = FILE["scenarios"][0]["expect"]["decision"]
    added = await officer("POST", "policy-cases", {"name": "agents.json", "file": one(decision)})
    assert added.json()["failing_now"] == []
    made, _ = await findings(officer)
    [report] = (await officer("GET", f"policies/{made}/reports")).json()["items"]
    assert report["figures"]["cases"] == {"passed": shipped + 1, "failed": 0}


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ({}, "schema"),
        (FILE | {"scenarios": [FILE["scenarios"][0] | {"id": "X-1", "overrides": {"weather": "fair"}}]}, "weather"),
        (FILE | {"scenarios": [{"id": "X-1"}]}, "scenarios.0.expect: field required"),
    ],
)
async def test_what_is_no_case_is_told_and_not_kept(officer, file, what):  # noqa: F811
    answer = await officer("POST", "policy-cases", {"name": "x", "file": file})
    assert (answer.status_code, what in answer.json()["detail"]) == (400, True), answer.text
    assert (await officer("GET", "policy-cases")).json()["items"] == []


async def test_a_name_stands_once_and_only_compliance_adds(service, officer):  # noqa: F811
    asked = {"name": "x", "file": one("ALLOW")}
    assert (await officer("POST", "policy-cases", asked)).status_code == 201
    assert (await officer("POST", "policy-cases", asked)).status_code == 409
    for role in (Role.AUDITOR, Role.OPERATOR, Role.GATEWAY):
        rest = Rest(service, service.authorization(role))
        assert (await rest("POST", "policy-cases", asked)).status_code == 403
