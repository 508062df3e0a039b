"""Data sets and switches: versions imported with what they would change, and put in force by two officers."""

from datetime import timedelta

import pytest

from mythos_gate.registry.policy_reports import Draft
from mythos_gate.settings import root
from mythos_gate.terms import ReportKind, Role
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio
FILE = (root() / "policies" / "jurisdictions.csv").read_text()


@pytest.fixture
async def officers(service):
    return [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(2)]


async def primary(service, subject="acme/ca"):
    return (await service.ask(question(subject, country="DE"))).json()["context"]["reason_admin"]["primary"]


async def send(rest, text, version="2026-12", kind="text/csv"):
    return await rest.client.post(
        f"/v1/data-sets?version={version}", content=text, headers=rest.headers | {"Content-Type": kind}
    )


def embargo(code):
    """The data set with one country in E:1."""
    lines = FILE.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{code},"))
    cells = lines[at].split(",")
    groups = lines[0].split(",").index("groups")
    cells[groups] = "E:1"
    return "\n".join([*lines[:at], ",".join(cells), *lines[at + 1 :]]) + "\n"


async def test_a_version_is_imported_compared_and_put_in_force_by_two(service, officers):
    one, two = officers
    assert await primary(service) == "ALLOW"
    made = await send(one, embargo("CA"))
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["version"], told["in_force"], told["people_concerned"]) == ("2026-12", False, 1)
    assert [(each["code"], each["what"], each["groups"]) for each in told["changes"]] == [("CA", "changed", ["E:1"])]
    assert await primary(service) == "ALLOW"
    await service.simulated(Draft(members={"data_set": told["id"]}), kinds=[ReportKind.IMPACT])
    reviewed = {"reviewed_at": service.now.isoformat()}
    proposal = await one("POST", f"data-sets/{told['id']}/activate", reviewed)
    assert proposal.status_code == 202, proposal.text
    assert await primary(service) == "ALLOW"
    assert (await two.approve(proposal.json()["id"])).status_code == 200
    assert await primary(service) == "CITIZENSHIP_EMBARGOED"
    read = (await one("GET", f"data-sets/{told['id']}")).json()
    assert (read["in_force"], read["changes"]) == (True, [])
    listed = (await one("GET", "data-sets")).json()["items"]
    assert sorted(each["in_force"] for each in listed) == [False, True]
    assert (await one("GET", "programme")).json()["data_set"] == told["id"]
    entries = [item["body"]["type"] for item in await service.entries()][-7:]
    assert [each for each in entries if each.startswith(("data_set", "change"))] == [
        "data_set_imported",
        "change_requested",
        "data_set_activated",
    ]


async def test_a_review_is_renewed_by_two(service, officers):
    one, two = officers
    await service.review(service.now - timedelta(days=91))
    assert await primary(service) == "REFERENCE_DATA_STALE"
    in_force = (await one("GET", "programme")).json()["data_set"]
    proposal = await one("POST", f"data-sets/{in_force}/activate", {"reviewed_at": service.now.isoformat()})
    assert (await two.approve(proposal.json()["id"])).status_code == 200
    assert await primary(service) == "ALLOW"


async def test_what_is_wrong_is_told_and_nothing_is_kept(service, officers):
    one, _ = officers
    before = service.sql("SELECT n FROM revision")
    again = await send(one, FILE)
    assert (again.status_code, "on record already" in again.json()["detail"]) == (409, True)
    broken = await send(one, FILE.replace("\nUS,", "\nus,"))
    assert broken.status_code == 400
    assert {"line", "column", "what", "remedy"} <= set(broken.json()["errors"][0])
    assert (await send(one, FILE, kind="application/json")).status_code == 400
    assert (await send(one, FILE, version="")).status_code == 400
    in_force = (await one("GET", "programme")).json()["data_set"]
    for path, members, status in [
        (f"data-sets/{'0' * 64}/activate", {"reviewed_at": service.now.isoformat()}, 404),
        (f"data-sets/{in_force}/activate", {}, 400),
        (f"data-sets/{in_force}/activate", {"reviewed_at": "2099-01-01T00:00:00Z"}, 400),
    ]:
        assert (await one("POST", path, members)).status_code == status
    assert (await one("GET", "data-sets/nothing")).status_code == 404
    assert before == service.sql("SELECT n FROM revision")


async def test_a_rule_is_switched_on_by_one_and_off_by_two(service, officers):
    one, two = officers
    await service.load(ownerships="organization,owner,percent,listed\nacme,Grey Holding,60,yes\n")
    assert await primary(service) == "ALLOW"
    made = await one("POST", "switches", {"name": "affiliates_rule", "from": "2026-01-01T00:00:00Z"})
    assert made.status_code == 201, made.text
    assert await primary(service) == "ORG_OWNERSHIP_LISTED_AFFILIATE"
    tag = {"If-Match": made.headers["etag"]}
    path, end = f"switches/{made.json()['id']}", {"until": "2026-02-01T00:00:00Z"}
    assert (await one("PATCH", path, end, **tag)).json()["code"] == "POLICY_CHANGE_NOT_SIMULATED"
    report = await one("POST", "simulations", {"switches": {made.json()["id"]: end}})
    assert {each["before"] for each in report.json()["figures"]["reasons"]} == {"ORG_OWNERSHIP_LISTED_AFFILIATE"}
    off = await one("PATCH", path, end, **tag)
    assert off.status_code == 202
    assert await primary(service) == "ORG_OWNERSHIP_LISTED_AFFILIATE"
    await two.approve(off.json()["id"])
    assert await primary(service) == "ALLOW"


async def test_only_the_programmes_officers_change_what_holds_for_everybody(service, officers):
    del officers
    officer = Rest(service, await service.key(Role.OFFICER, authority="orrery"))
    for rest in (officer, Rest(service, service.authorization(Role.AUDITOR))):
        assert (await send(rest, FILE)).status_code == 403
        assert (await rest("POST", "data-sets/x/activate", {})).status_code == 403
        assert (await rest("POST", "switches", {})).status_code == 403
        assert (await rest("GET", "programme")).status_code == 200
