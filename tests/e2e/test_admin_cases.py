"""Cases of administration, told as they are and played through, from the files that an office sends to the answers."""

import csv
import io
from typing import Any

import pytest

from mythos_gate.terms import Role
from tests.api.test_every_route import WORDS, world  # noqa: F401  a fixture
from tests.api.test_resources import Rest

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
