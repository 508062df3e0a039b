"""Policy cases that officers add: every later draft is held against them, until two lift them."""

import json

import pytest

from mythos_gate.analysis import child
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


def overridden(**overrides):
    return FILE | {"scenarios": [FILE["scenarios"][0] | {"id": "X-1", "overrides": overrides}]}


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
    assert "of added/agents.json comes out otherwise: decision: expected" in failed["message"]
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


async def test_a_case_added_after_the_request_holds_its_approval(service, officer, second):  # noqa: F811
    made, _ = await findings(officer)
    await service.simulated(Draft(made), kinds=[ReportKind.IMPACT])
    wanted = (await officer("POST", f"policies/{made}/activate")).json()["id"]
    assert (await officer("POST", "policy-cases", {"name": "late", "file": contrary()})).status_code == 201
    unchecked = await second.approve(wanted)
    assert (unchecked.status_code, "'late'" in unchecked.json()["detail"]) == (403, True), unchecked.text
    _, [_] = await findings(officer)
    failed = await second.approve(wanted)
    assert (failed.status_code, "must not be put in force" in failed.json()["detail"]) == (403, True), failed.text


async def test_a_case_added_while_a_check_is_under_way_was_not_checked(service, officer, monkeypatch):  # noqa: F811
    run = child.run

    async def meanwhile(what, **asked):
        told = await run(what, **asked)
        assert (await officer("POST", "policy-cases", {"name": "late", "file": contrary()})).status_code == 201
        return told

    with monkeypatch.context() as patched:
        patched.setattr(child, "run", meanwhile)
        made, found = await findings(officer)
    assert found == []
    await service.simulated(Draft(made), kinds=[ReportKind.IMPACT])
    refused = await officer("POST", f"policies/{made}/activate")
    assert (refused.status_code, "'late'" in refused.json()["detail"]) == (403, True), refused.text


async def test_a_number_that_only_a_float_holds_does_not_keep_drafts_from_being_checked(officer):  # noqa: F811
    file = overridden(org={"blocked_owner_aggregate_pct": 1e300})
    assert (await officer("POST", "policy-cases", {"name": "x", "file": file})).status_code == 201
    made = (await officer("POST", "policies", {"files": OTHER})).json()["id"]
    checked = await officer("POST", f"policies/{made}/checks")
    assert (checked.status_code, [each["about"] for each in checked.json()["figures"]["findings"]]) == (201, ["X-1"])


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
        (overridden(weather="fair"), "X-1: weather: "),
        (overridden(policy={"clock_skew_s": 1e300}), "X-1: policy.clock_skew_s: "),
        (overridden(org={"id": "a\0b"}), "file: must not hold U+0000"),
        (FILE | {"scenarios": []}, "scenarios: "),
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
