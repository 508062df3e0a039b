"""Who would gain and lose is known, from everybody on record, before a policy is put in force."""

import pytest
from sqlalchemy import text

from mythos_gate.terms import ReportKind, Role
from tests.analysis.test_impact import lacking, without
from tests.api.test_policies import BASELINE, outcome
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import question

pytestmark = pytest.mark.anyio


@pytest.fixture
async def staff(service):
    """The US person of acme is allowed; the training of the Canadian has expired."""
    people = "organization,external_id,employment,work_country,training_expires\n"
    await service.load(people=people + "acme,us,employee,US,now+90d\nacme,ca,employee,US,now-1d\n")


async def simulated(officer, row):  # noqa: F811
    made = await officer("POST", "policies", {"files": lacking(row)})
    answer = await officer("POST", f"policies/{made.json()['id']}/simulations")
    assert answer.status_code == 201, answer.text
    return answer


async def test_a_simulation_tells_who_would_be_newly_allowed(service, officer, staff):  # noqa: F811
    assert without("training-expired").sha256 != without("screening-stale").sha256
    report = await simulated(officer, "training-expired")
    figures = report.json()["figures"]
    assert (figures["people"], figures["agents"]) == (4, 1)  # two are officers, of an office without grants
    assert figures["standing"]["before"] == {"allow": 2, "deny": 3}
    assert figures["standing"]["after"] == {"allow": 3, "deny": 2}
    assert figures["changes"]["people"]["newly_allowed"] == 1
    assert figures["reasons"] == [{"before": "TRAINING_EXPIRED", "after": "ALLOW", "subjects": 1}]
    assert figures["by_organization"]["acme"]["newly_allowed"] == 1
    assert figures["paths"]["gained"] == figures["paths"]["after"] - figures["paths"]["before"] > 0
    [(ca,)] = service.sql("SELECT id FROM people WHERE external_id = 'ca'")
    path = report.headers["location"].removeprefix("/v1/")
    apart = (await officer("GET", path)).json()["apart"]
    assert (apart["newly_allowed"], apart["acknowledge"]) == ([ca], [])
    assert apart["by_us_person"]["no"]["newly_allowed"] == 1
    assert "apart" not in report.json()
    assert ca not in report.text
    entries = [each["body"] for each in await service.entries()]
    assert [each["report"] for each in entries if each["type"] == "policy_report_read"] == [report.json()["id"]]
    (logged,) = [each for each in entries if each["type"] == "simulated"]
    assert (logged["report_sha256"], logged["policy"]) == (report.json()["sha256"], report.json()["policy"])


async def test_what_a_simulation_says_of_people_is_read_by_compliance_alone(service, officer, staff):  # noqa: F811
    report = await simulated(officer, "training-expired")
    path, policy = report.headers["location"].removeprefix("/v1/"), report.json()["policy"]
    await service.load_programme()
    for role, scope in (
        (Role.AUDITOR, {}),
        (Role.OPERATOR, {}),
        (Role.OFFICER, {"authority": "export-office"}),
        (Role.ORG_ADMIN, {"organization": "acme"}),
    ):
        rest = Rest(service, await service.key(role, **scope))
        for each in (path, f"policies/{policy}/reports/{report.json()['id']}"):
            assert (await rest("GET", each)).status_code == 403, role
        assert (await rest("POST", f"policies/{policy}/simulations")).status_code == 403, role
    auditor = Rest(service, await service.key(Role.AUDITOR))
    listed = (await auditor("GET", f"policies/{policy}/reports")).json()["items"]
    assert [each["kind"] for each in listed] == ["impact"]
    assert (await officer("GET", f"policies/{'0' * 64}/reports/{listed[0]['id']}")).status_code == 404
    assert (await officer("GET", f"policies/{policy}/reports/rep_none")).status_code == 404
    assert (await officer("POST", f"policies/{'0' * 64}/simulations")).status_code == 404


@pytest.mark.parametrize(
    ("setting", "needs"),
    [
        ({}, {"approvals": 1, "acknowledge": 0, "is_staged": False}),
        ({"approval_paths": 0}, {"approvals": 2, "acknowledge": 0, "is_staged": False}),
        ({"approval_ratio": 1}, {"approvals": 2, "acknowledge": 0, "is_staged": False}),
        ({"stage_ratio": 1}, {"approvals": 1, "acknowledge": 0, "is_staged": True}),
    ],
)
async def test_the_limits_are_settings(service, officer, staff, setting, needs):  # noqa: F811
    for name, value in setting.items():
        setattr(service.gate.settings, name, value)
    assert (await simulated(officer, "training-expired")).json()["needs"] == needs


async def test_a_policy_that_was_simulated_is_approved_and_decides(service, officer, second, staff):  # noqa: F811
    report = await simulated(officer, "training-expired")
    policy = report.json()["policy"]
    unchecked = await officer("POST", f"policies/{policy}/activate")
    assert (unchecked.status_code, unchecked.json()["code"]) == (403, "POLICY_CHANGE_NOT_SIMULATED")
    await service.simulated(policy, kinds=[ReportKind.CHECKS])
    wanted = await officer("POST", f"policies/{policy}/activate")
    assert wanted.json()["simulation"] == report.json()["id"]
    assert (await second.approve(wanted.json()["id"])).status_code == 200
    assert await outcome(service) == ("allow", 2)


async def test_whoever_asks_for_it_is_acknowledged_by_name(service, officer, second, staff):  # noqa: F811
    [(ca,)] = service.sql("SELECT id FROM people WHERE external_id = 'ca'")
    async with service.gate.registry.change("test", "test") as change:
        await change.connection.execute(text("UPDATE nationality_records SET country = 'VN'"))
    report = await simulated(officer, "training-expired")
    policy = report.json()["policy"]
    assert report.json()["needs"]["acknowledge"] == 1
    await service.simulated(policy, kinds=[ReportKind.CHECKS])
    wanted = (await officer("POST", f"policies/{policy}/activate")).json()["id"]
    refused = await second.approve(wanted)
    assert (refused.status_code, refused.json()["code"]) == (403, "POLICY_CHANGE_BLAST_RADIUS_EXCEEDED")
    assert (await second.approve(wanted, acknowledged=[ca])).status_code == 200


# --- checks and explanations ----------------------------------------------------------------------------------


async def test_a_policy_that_breaks_an_invariant_cannot_be_put_in_force(service, officer, staff):  # noqa: F811
    """Not even simulated: that it is unsound is found first."""
    report = await simulated(officer, "screening-pending")
    policy = report.json()["policy"]
    checked = await officer("POST", f"policies/{policy}/checks")
    assert (checked.status_code, checked.json()["passed"]) == (201, False), checked.text
    found = {(each["kind"], each["about"]) for each in checked.json()["figures"]["findings"]}
    assert ("invariant", "clear-screening") in found
    assert [each for each in checked.json()["figures"]["invariants"] if not each["holds"]] == [
        {"name": "clear-screening", "holds": False}
    ]
    refused = await officer("POST", f"policies/{policy}/activate")
    assert (refused.status_code, refused.json()["code"]) == (403, "POLICY_CHANGE_NOT_SIMULATED")
    assert "must not be put in force" in refused.json()["detail"]


async def test_a_policy_without_findings_passes(service, officer):  # noqa: F811
    made = await officer("POST", "policies", {"files": BASELINE | {"messages.csv": BASELINE["messages.csv"] + "\n"}})
    checked = (await officer("POST", f"policies/{made.json()['id']}/checks")).json()
    assert checked["passed"], checked["figures"]["findings"]
    assert checked["figures"]["cases"]["failed"] == 0 < checked["figures"]["cases"]["passed"]
    assert len(checked["figures"]["invariants"]) > 20
    assert (await officer("GET", f"policies/{made.json()['id']}")).json()["state"] == "tested"


async def test_an_explanation_says_what_would_have_to_change(service, officer, staff):  # noqa: F811
    answer = await service.client.post("/v1/decisions/explain", json=question("acme/ca"), headers=officer.headers)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["decision"], told["context"]["outcome"]) == (False, "deny")
    assert told["change"]["possible"]
    assert told["change"]["steps"] == [{"fact": "training", "before": "expired", "after": "current"}]
    assert [each["code"] for each in told["change"]["compliance"]] == ["TRAINING_EXPIRED"]
    assert told["change"]["organization"][0]["how_to_fix"]
    assert len(told["change"]["subject"]) == 1
    refused = await service.client.post(
        "/v1/decisions/explain", json=question(), headers=service.authorization(Role.GATEWAY)
    )
    assert refused.status_code == 403
