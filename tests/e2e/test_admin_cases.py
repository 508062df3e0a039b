"""Cases of administration, told as they are and played through, from the files that an office sends to the answers."""

import csv
import io
from typing import Any

import pytest

from mythos_gate.decision.policy import read_files
from mythos_gate.settings import root
from mythos_gate.terms import Role
from tests.analysis.test_replay import replayed
from tests.api.test_data_sets import FILE, send
from tests.api.test_every_route import WORDS, world  # noqa: F401  a fixture
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio

A04: dict[str, Any] = {
    "id": "A04",
    "title": "Org admin asks for nationality list",
    "given": "Org admin exports staff with citizenship",
    "when": "export",
    "why": "Org admin sees eligible / not eligible / action needed only.",
    "expect": {"decision": "REJECT", "primary_reason": "NATIONALITY_FIELD_FORBIDDEN"},
}
STAFF = (
    "organization,external_id,employment,work_country,us_person,us_basis,citizenships,permanent_residencies,"
    "evidence_expires,training_expires,acceptable_use,technology_control_plan,approvals,requested_by,review_due\n"
    "acme,ready,employee,US,yes,citizen,,,,now+90d,yes,yes,a1;a2,r1,now+90d\n"
    "acme,barred,employee,US,no,,IR@1971-07-07,,now+90d,now+90d,yes,yes,a1;a2,r1,now+90d\n"
    "acme,untrained,employee,US,no,,CA@1971-07-07,,now+90d,,yes,yes,a1;a2,r1,now+90d\n"
    "acme,unclear,employee,US,unknown,,,,,now+90d,yes,yes,a1;a2,r1,now+90d\n"
)
SCREENED = "organization,person,status,screened_at\n" + "".join(
    f"acme,{name},clear,now-1h\n" for name in ("ready", "barred", "untrained", "unclear")
)
TOLD = {"eligible", "not_eligible", "action_needed", "in_compliance_review"}


async def test_a04_an_administrator_asks_for_a_list_of_nationalities(world):  # noqa: F811
    service, expected = world.service, A04["expect"]
    await service.load(people=STAFF, screenings=SCREENED)
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme", person="acme/us"))
    columns = ("citizenships", "permanent_residencies", "us_person", "us_basis", "evidence_expires")
    for column in columns:
        answer = await admin("GET", f"people/export?columns=external_id,{column}")
        assert (answer.status_code, answer.json()["code"]) == (403, expected["primary_reason"])
        assert "1971" not in answer.text
    # By other ways too.
    asked = {
        "people?country_group=E:1": 403,
        "people/acme/barred/assessment": 403,
        "people?citizenships=IR": 400,
        "people/export?citizenships=yes": 400,
    }
    assert {path: (await admin("GET", path)).status_code for path in asked} == asked
    # What was refused is told in the log, and nothing of anybody with it.
    refused = [each["body"] for each in await service.entries() if each["body"]["type"] == "refused"]
    assert {each["code"] for each in refused if "export" in each["route"]} == {expected["primary_reason"]}

    # What the organization sees instead.
    listed = {
        each["person"].removeprefix("acme/"): each["models"]
        for each in (await admin("GET", "eligibility")).json()["items"]
    }
    status = {name: {model["status"] for model in models} for name, models in listed.items()}
    assert (status["ready"], status["barred"], status["untrained"]) == (
        {"eligible"},
        {"not_eligible"},
        {"action_needed"},
    )
    assert set().union(*status.values()) <= TOLD
    assert [each["actions"] for each in listed["barred"]] == [[]]
    export = await admin("GET", "people/export")
    assert {row["external_id"] for row in csv.DictReader(io.StringIO(export.text))} >= {"ready", "barred"}
    answers = [
        export,
        *[await admin("GET", path) for path in ("people", "eligibility", "attention", "people/acme/barred")],
    ]
    for answer in answers:
        assert [word for word in (*WORDS, "IR@", "1971") if word in answer.text] == []


async def test_an_export_has_the_columns_that_were_asked_for(world):  # noqa: F811
    export = await world.admin("GET", "people/export?columns=external_id, employment")
    assert export.text == "external_id,employment\r\nus,employee\r\nca,employee\r\n" or export.text.count("\r\n") == 3
    for columns in ("", "name,name", "Zebulon", "status"):
        answer = await world.admin("GET", f"people/export?columns={columns}")
        assert (answer.status_code, "Zebulon" in answer.text) == (400, False)
    # Not to compliance either, in one file: its reads are noted, one by one.
    officer = await world.one("GET", "people/export?organization=acme&columns=external_id,citizenships")
    assert (officer.status_code, "noted in the log" in officer.json()["detail"]) == (400, True)


# --- what is known before it is signed --------------------------------------------------------------------------

BASELINE = read_files(root() / "policies")
ANY = {"If-Match": "*"}


async def rest(service, role=Role.COMPLIANCE, **scope):
    return Rest(service, await service.key(role, **scope))


async def test_a01_a_group_is_taken_off_a_list_without_a_simulation(service):
    """An officer drafts the removal of D:1 from the excluded groups, of a grant and of a policy's rows alike."""
    officer, second = await rest(service), await rest(service)
    ((grant,),) = service.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    path, with_d1 = f"grants/{grant}", ["D:1", "D:5", "E:1", "E:2", "MO"]
    assert (await officer("PATCH", path, {"excluded_groups": with_d1}, **ANY)).status_code == 200
    removal = {"excluded_groups": with_d1[1:]}
    refused = await officer("PATCH", path, removal, **ANY)
    assert (refused.status_code, refused.json()["code"]) == (403, "POLICY_CHANGE_NOT_SIMULATED")
    report = await officer("POST", "simulations", {"grants": {grant: removal}})
    wanted = await officer("PATCH", path, removal, **ANY)
    assert (wanted.status_code, wanted.json()["simulation"]) == (202, report.json()["id"])
    assert (await second.approve(wanted.json()["id"])).status_code == 200
    assert (await officer("GET", path)).json()["excluded_groups"] == removal["excluded_groups"]


FOREIGNERS = 49
NOBODY_FROM_ABROAD = (
    "no-foreign-person,70,person,deny,DENY,CITIZENSHIP_RESTRICTED,no,presence=foreign_domestic|foreign_abroad\n"
)


async def crowd(service):
    """One US person who is allowed, and foreign persons who would be but for the policy in force."""
    names = [f"n{number}" for number in range(FOREIGNERS)]
    staff = [f"acme,{name},employee,US,no,,CA@1971-07-07,,now+90d,now+90d,yes,yes,a1;a2,r1,now+90d\n" for name in names]
    head, ready = STAFF.splitlines(keepends=True)[:2]
    people = [head, ready.replace("ready", "us"), *staff]
    clear = [f"acme,{name},clear,now-1h\n" for name in names]
    await service.load(people="".join(people), screenings="organization,person,status,screened_at\n" + "".join(clear))
    await service.load(agents="organization,external_id,sponsor,status\nacme,bot,us,revoked\n")
    await service.load(people="organization,external_id,employment,status\nacme,ca,employee,suspended\n")
    await service.activate(BASELINE | {"access.csv": BASELINE["access.csv"] + NOBODY_FROM_ABROAD})


async def test_a02_and_a03_fifty_times_the_paths_take_a_third_person_of_another_authority(service):
    """The draft is the shipped policy, which passes all checks: it opens fifty times what is open."""
    await crowd(service)
    officer, second = await rest(service), await rest(service, person="acme/n1")
    files = BASELINE | {"messages.csv": BASELINE["messages.csv"] + "\n"}
    path = f"policies/{(await officer('POST', 'policies', {'files': files})).json()['id']}"
    assert (await officer("POST", f"{path}/checks")).json()["passed"]
    report = (await officer("POST", f"{path}/simulations")).json()
    assert {name: report["figures"]["paths"][name] for name in ("before", "after", "ratio_thousandths")} == {
        "before": 4, "after": 200, "ratio_thousandths": 50_000
    }  # fmt: skip
    assert report["needs"] == {"approvals": 2, "acknowledge": 0, "is_staged": True}
    at_once = await officer("POST", f"{path}/activate")
    assert (at_once.status_code, at_once.json()["code"]) == (403, "POLICY_CHANGE_BLAST_RADIUS_EXCEEDED")

    staged = await officer("POST", f"{path}/activate", {"organizations": ["acme"], "halt_after": 10})
    wanted = staged.json()["id"]
    held = await second.approve(wanted)
    assert (held.status_code, held.json()["code"]) == (202, "POLICY_CHANGE_BLAST_RADIUS_EXCEEDED")
    # The same person is no third one under another role, and is of no other authority by it.
    again = await rest(service, Role.OFFICER, authority="export-office", person="acme/n1")
    twice = await again.approve(wanted)
    assert (twice.status_code, twice.json()["code"]) == (403, "POLICY_CHANGE_APPROVAL_INCOMPLETE")
    asked = question("acme/n7", country="US")
    assert (await service.ask(asked)).json()["context"]["reason_admin"]["primary"] == "CITIZENSHIP_RESTRICTED"
    third = await rest(service, Role.OFFICER, authority="export-office")
    assert (await third.approve(wanted)).json()["state"] == "approved"
    assert (await service.ask(asked)).json()["decision"] is True


async def test_a07_and_a08_another_data_set_is_seen_and_signed_and_what_was_decided_stays_so(service):
    """One country moves to another group. The auditor's old decision about a citizen of it is what it was."""
    await service.load(people=STAFF.replace("CA@1971", "AE@1971").replace("now+90d,,yes", "now+90d,now+90d,yes"))
    await service.load(screenings=SCREENED)
    officer, second = await rest(service), await rest(service)
    asked = question("acme/untrained", country="DE")
    ((grant,),) = service.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    excluded = {"excluded_groups": ["D:4", "D:5", "E:1", "E:2", "MO"]}
    assert (await officer("PATCH", f"grants/{grant}", excluded, **ANY)).status_code == 200
    answered = (await service.ask(asked)).json()["context"]
    auditor = Rest(service, service.authorization(Role.AUDITOR))
    then = (await auditor("GET", f"decisions/{answered['id']}")).json()

    left = "AE,ARE,784,United Arab Emirates,country,listed,,A:5 B,"
    assert left in FILE
    shown = (await send(officer, FILE.replace(left, left.replace("A:5 B", "D:4")), version="2026-11-20")).json()
    assert ([each["code"] for each in shown["changes"]], shown["people_concerned"]) == (["AE"], 1)
    path, reviewed = f"data-sets/{shown['id']}/activate", {"reviewed_at": service.now.isoformat()}
    assert (await officer("POST", path, reviewed)).json()["code"] == "POLICY_CHANGE_NOT_SIMULATED"
    report = (await officer("POST", "simulations", {"data_set": shown["id"]})).json()
    assert report["figures"]["changes"]["people"]["newly_denied"] == 1
    held = await officer("POST", path, reviewed)
    assert (held.status_code, held.json()["code"], held.json()["state"]) == (202, "DATASET_UNREVIEWED", "requested")
    assert (await service.ask(asked)).json()["context"]["outcome"] == then["outcome"] == "allow"
    assert (await second.approve(held.json()["id"])).status_code == 200
    today = (await service.ask(asked)).json()["context"]["reason_admin"]
    assert (today["primary"], then["reasons"]) == ("CITIZENSHIP_RESTRICTED", ["ALLOW"])

    # The old set is still there under its id, the old decision is the same, and follows again from what it names.
    assert (await officer("GET", f"data-sets/{then['data_set']}")).json()["in_force"] is False
    assert (await auditor("GET", f"decisions/{answered['id']}")).json() == then
    again = await replayed(service)
    assert (again.decisions, again.findings) == (3, [])
