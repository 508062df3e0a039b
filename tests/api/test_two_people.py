"""Two officers are two people, and confirm what they have seen: ways around that, each refused."""

from typing import Any

import pytest

from mythos_gate.errors import NotRecorded
from mythos_gate.registry import resources
from mythos_gate.terms import Role
from tests.api.test_resources import NEW, Rest
from tests.service import question

pytestmark = pytest.mark.anyio
ANY = {"If-Match": "*"}


@pytest.fixture
async def officers(service):
    return [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(3)]


async def primary(service, subject="acme/us"):
    return (await service.ask(question(subject, country="DE"))).json()["context"]["reason_admin"]["primary"]


async def test_two_keys_of_one_person_are_not_two_people(service):
    await service.load(people="organization,external_id,employment\nother,kim,employee\n")
    one, same = [Rest(service, await service.key(Role.COMPLIANCE, person="other/kim")) for _ in range(2)]
    made = (await one("PATCH", "organizations/acme", {"name": "x"}, **ANY)).json()["id"]
    refused = await same.approve(made)
    assert (refused.status_code, refused.json()["code"]) == (403, "POLICY_CHANGE_APPROVAL_INCOMPLETE")
    assert (await Rest(service, await service.key(Role.COMPLIANCE)).approve(made)).status_code == 200


@pytest.mark.parametrize("status", ["incomplete", "clear", "false_positive", "pending"])
async def test_a_confirmed_match_is_not_washed_away_by_results(service, officers, status):
    await service.load(screenings="organization,person,status\nacme,us,true_match\nacme,,true_match\n")
    for named in ({"person": "us"}, {}):
        item = {"organization": "acme", "status": status, "screened_at": service.now.isoformat(), **named}
        assert (await officers[0]("POST", "screenings", {"items": [item]})).status_code == 400
    await service.load(screenings="organization,person,status\nacme,,clear\nacme,us,pending\n")
    item = {"organization": "acme", "person": "us", "status": "incomplete"}
    assert (await officers[0]("POST", "screenings", {"items": [item]})).status_code == 400


async def test_a_verdict_is_about_the_hit_that_was_seen(service, officers):
    one, two, three = officers
    await service.load(screenings="organization,person,status,list_version\nacme,us,pending,L1\n")
    verdict = {"organization": "acme", "person": "us", "status": "false_positive"}
    made = (await one("POST", "screenings/adjudicate", verdict)).json()["id"]
    await service.load(screenings="organization,person,status,list_version\nacme,us,pending,L2\n")
    assert (await two.approve(made)).status_code == 412
    again = (await one("POST", "screenings/adjudicate", verdict)).json()["id"]
    assert (await three("POST", "screenings/adjudicate", verdict | {"status": "true_match"})).status_code == 200
    assert (await two.approve(again)).status_code == 412
    assert await primary(service) == "SCREENING_MATCH_CONFIRMED"


@pytest.mark.parametrize("role", [Role.ORG_ADMIN, Role.COMPLIANCE])
async def test_whoever_imported_somebody_does_not_approve_them(service, role):
    await service.load(people="organization,external_id,employment\nacme,lee,employee\n")
    scope = {"organization": "acme"} if role == Role.ORG_ADMIN else {}
    rest = Rest(service, await service.key(role, person="acme/lee", **scope))
    text = "organization,external_id,employment\nacme,new,employee\n"
    headers = rest.headers | {"Content-Type": "text/csv"}
    assert (await service.client.post("/v1/people/import", content=text, headers=headers)).status_code == 200
    for step, members in (("approve", None), ("review", {"due": "2030-01-01T00:00:00Z"})):
        assert (await rest("POST", f"people/acme/new/{step}", members)).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    assert service.sql(
        "SELECT count(*) FROM approvals a JOIN people p ON p.id = person_id WHERE external_id = 'new'"
    ) == [(0,)]


async def test_nobody_learns_where_an_approver_is_on_record(service):
    await service.load(people="organization,external_id,employment\nother,kim,employee\n")
    kim = Rest(service, await service.key(Role.COMPLIANCE, person="other/kim"))
    assert (await kim("POST", "people/acme/us/approve")).status_code == 200
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))
    assert "other" not in (await admin("GET", "people/acme/us")).text


async def test_whoever_has_left_is_not_imported_back_by_compliance(service, officers):
    await officers[0]("POST", "people/acme/us/revoke")
    headers = officers[0].headers | {"Content-Type": "text/csv"}
    text = "organization,external_id,employment\nacme,us,employee\n"
    assert (await service.client.post("/v1/people/import", content=text, headers=headers)).status_code == 400


async def test_a_change_that_is_reported_meanwhile_is_not_reviewed_by_an_older_proposal(service, officers):
    one, two, _ = officers
    made = (await one("PUT", "organizations/acme/ownership", {"owners": []}, **ANY)).json()["id"]
    await one("PATCH", "organizations/acme", {"ownership_change_pending": True}, **ANY)
    assert (await two.approve(made)).status_code == 412
    assert await primary(service) == "ORG_OWNERSHIP_REVIEW"


async def test_any_tag_in_a_list_is_bound_as_well(officers):
    one, two, _ = officers
    made = (await one("PATCH", "organizations/acme", {"name": "x"}, **{"If-Match": '"x", *'})).json()["id"]
    other = (await one("PATCH", "organizations/acme", {"name": "y"}, **ANY)).json()["id"]
    assert (await two.approve(other)).status_code == 200
    assert (await two.approve(made)).status_code == 412


async def test_what_is_activated_is_what_was_proposed(officers):
    one, two, _ = officers
    draft = (await one("POST", "grants", NEW["grants"])).json()["id"]
    activation = (await one("POST", f"grants/{draft}/activate")).json()["id"]
    wider = (await one("PATCH", f"grants/{draft}", {"allowed_countries": ["*"]}, **ANY)).json()["id"]
    assert (await two.approve(wider)).status_code == 200
    assert (await two.approve(activation)).status_code == 412


async def test_a_vendor_does_not_become_a_government(officers):
    for path, members in (
        ("authorities/orrery", {"kind": "government"}),
        ("models/mythos-5", {"authority": "export-office"}),
    ):
        assert (await officers[0]("PATCH", path, members, **ANY)).status_code == 400


async def test_a_second_incident_locks_for_itself(service, officers):
    one, two, _ = officers
    lock = {"scope": "person", "target": "acme/us"}
    made = [(await one("POST", "stops", lock | {"incident": each})).json()["id"] for each in ("I-1", "I-2")]
    assert (await one("POST", "stops", lock | {"incident": "I-1"})).status_code == 409
    lift = (await one("POST", f"stops/{made[0]}/lift")).json()["id"]
    assert (await two.approve(lift)).status_code == 200
    assert await primary(service) == "INCIDENT_LOCKDOWN"


async def test_a_stop_is_lifted_once(officers):
    one, two, _ = officers
    stop = (await one("POST", "stops", {"scope": "model", "target": "mythos-5"})).json()["id"]
    lifts = [(await one("POST", f"stops/{stop}/lift")).json()["id"] for _ in range(2)]
    assert [(await two.approve(each)).status_code for each in lifts] == [200, 409]
    assert (await one("POST", f"stops/{stop}/lift")).status_code == 409


async def test_a_suspension_withdraws_what_would_undo_it_and_nothing_else(officers):
    one, two, _ = officers
    for person in ("us", "ca"):
        await one("POST", f"people/acme/{person}/suspend")
    back, other = [(await one("POST", f"people/acme/{person}/activate")).json()["id"] for person in ("us", "ca")]
    name = (await one("PATCH", "organizations/acme", {"name": "x"}, **ANY)).json()["id"]
    first = (await one("POST", "people/acme/us/activate")).json()["id"]
    assert (await two.approve(first)).status_code == 200
    assert (await two("POST", "people/acme/us/suspend")).status_code == 200
    states = {each: (await one("GET", f"change-requests/{each}")).json() for each in (back, other, name, first)}
    assert [states[each]["state"] for each in (back, other, name, first)] == [
        "withdrawn",
        "requested",
        "requested",
        "approved",
    ]
    assert states[back]["decided_by"] != states[back]["requested_by"]
    assert states[back]["decided_at"]


async def test_an_officer_sees_no_proposal_about_people(service, officers):
    await service.load(screenings="organization,person,status\nacme,us,pending\n")
    await officers[0](
        "POST", "screenings/adjudicate", {"organization": "acme", "person": "us", "status": "false_positive"}
    )
    await officers[0]("PATCH", "organizations/acme", {"name": "x"}, **ANY)
    officer = Rest(service, await service.key(Role.OFFICER, authority="orrery"))
    assert [item["resource"] for item in (await officer("GET", "change-requests")).json()["items"]] == ["organizations"]


async def test_what_is_decided_keeps_no_nationality_twice(service, officers):
    one, two, three = officers
    path = "people/acme/ca/assessment"
    for step, rest in (("approve", two), ("reject", three)):
        held = [{"country": "Japan", "acquired": "1990-01-01"}]
        made = (await one("PUT", path, {"us_person": "no", "citizenships": held}, **ANY)).json()
        assert service.sql("SELECT count(*) FROM change_request_contents") == [(1,)]
        decision = {"approve": {"sha256": made["sha256"]}, "reject": {"reason": "not now"}}[step]
        assert (await rest("POST", f"change-requests/{made['id']}/{step}", decision)).status_code == 200
        assert service.sql("SELECT count(*) FROM change_request_contents") == [(0,)]
    roles = service.sql(
        "SELECT grantee FROM information_schema.role_table_grants WHERE table_name = 'change_request_contents' AND grantee LIKE 'mythos%%'"
        " AND privilege_type = 'SELECT'"
    )
    assert {role for (role,) in roles} == {"mythos_gate_compliance"}
    before = service.sql("SELECT count(*) FROM nationality_commitments")
    assert (await one("POST", f"{path}/withdraw")).status_code == 200
    assert service.sql("SELECT count(*) FROM nationality_commitments") == [(before[0][0] + 1,)]


@pytest.mark.parametrize("country", ["", " ", "Iran@1990-01-01", "Iran;Cuba", "Iran|Cuba"])
async def test_a_country_is_kept_as_it_was_told_or_refused(officers, country):
    held = [{"country": "Canada"}, {"country": country}]
    answer = await officers[0]("PUT", "people/acme/ca/assessment", {"us_person": "no", "citizenships": held}, **ANY)
    assert answer.status_code == 400
    dated = {"us_person": "no", "citizenships": [{"country": "Canada", "acquired": 0}]}
    assert (await officers[0]("PUT", "people/acme/ca/assessment", dated, **ANY)).status_code == 400


async def test_a_letter_may_exempt_hundreds(service, officers):
    names = [f"organization-of-the-letter-{number}" for number in range(150)]
    await service.load(organizations="organization,name,status\n" + "".join(f"{name},N,active\n" for name in names))
    made = await officers[0]("POST", "directives", NEW["directives"] | {"exempt_organizations": names})
    assert (made.status_code, len(made.json()["exempt_organizations"])) == (201, 150)


async def test_an_export_leaves_nobody_out(service, officers, monkeypatch):
    monkeypatch.setattr(resources.Search, "__init__", _of_two)
    await service.load(
        people="organization,external_id,employment\n" + "".join(f"acme,p{n},employee\n" for n in range(5))
    )
    exported = (await officers[0]("GET", "people/export?organization=acme")).text
    assert len(exported.splitlines()) == 1 + 7


def _of_two(self, filters, after=None, limit=2, expiring=None, country_group=None):
    """As the real one, with pages of two."""
    for name, value in locals().copy().items():
        if name != "self":
            object.__setattr__(self, name, value)


async def test_a_withdrawal_is_of_one_person_and_outdates_what_was_proposed(service, officers):
    one, two, _ = officers
    tag = (await one("GET", "people/acme/us/assessment")).headers["etag"]
    late = (
        await one("PUT", "people/acme/us/assessment", {"us_person": "yes", "us_basis": "lpr"}, **{"If-Match": tag})
    ).json()
    assert (await one("POST", "people/acme/us/assessment/withdraw")).status_code == 200
    assert (await two.approve(late["id"])).status_code == 412
    assert (await one("GET", "people/acme/us/assessment")).json()["us_basis"] is None
    assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is True


async def test_another_organizations_owners_and_review_stay(service, officers):
    one, two, _ = officers
    await service.load(ownerships="organization,owner,percent\nother,Red Fund,60\n")
    await one("PATCH", "organizations/other", {"ownership_change_pending": True}, **ANY)
    assert (await one("GET", "organizations/acme/ownership")).json()["owners"] == []
    owners = [{"owner": "A", "percent": "1"}]
    made = (await one("PUT", "organizations/acme/ownership", {"owners": owners}, **ANY)).json()["id"]
    assert (await two.approve(made)).status_code == 200
    kept = (await one("GET", "organizations/other/ownership")).json()
    assert [each["owner"] for each in kept["owners"]] == ["Red Fund"]
    assert kept["ownership_change_pending"] is True


async def test_the_organization_is_part_of_the_name(service, officers):
    await service.load(people="organization,external_id,employment\nother,us,employee\n")
    for name in ("acme", "other"):
        assert (await officers[0]("GET", f"people/{name}/us")).json()["organization"] == name
    assert (await officers[0]("GET", "people/nowhere/us")).status_code == 404
    wrong = {"organization": "other", "person": "us", "status": "true_match"}
    assert (await officers[0]("POST", "screenings/adjudicate", wrong)).status_code == 404


@pytest.mark.parametrize(
    "path", ["people/acme/ca/assessment", "people?country_group=A:1", "people/export?organization=acme"]
)
async def test_a_read_that_cannot_be_recorded_is_not_answered(service, officers, monkeypatch, path):
    async def refuse(*_):
        raise NotRecorded("full")

    monkeypatch.setattr(service.gate.log, "commit", refuse)
    answer = await service.client.get(f"/v1/{path}", headers=officers[0].headers)
    assert (answer.status_code, "ca" in answer.json()) == (503, False)


async def test_an_authoritys_officer_decides_nothing_of_the_programme(service, officers):
    one, officer = officers[0], Rest(service, await service.key(Role.OFFICER, authority="orrery"))
    for path in ("people/acme/us", "agents/acme/bot"):
        await one("POST", f"{path}/suspend")
    await service.load(screenings="organization,person,status\nacme,ca,pending\n")
    data = (await one("GET", "programme")).json()["data_set"]
    verdict = {"organization": "acme", "person": "ca", "status": "false_positive"}
    made = [
        await one("POST", "people/acme/us/activate"),
        await one("POST", "agents/acme/bot/activate"),
        await one("POST", "screenings/adjudicate", verdict),
        await one("POST", f"data-sets/{data}/activate", {"reviewed_at": service.now.isoformat()}),
    ]
    for each in made:
        assert each.status_code == 202, each.text
        is_shown = each is made[-1]  # what would change much takes an officer as well
        path = f"change-requests/{each.json()['id']}"
        assert (await officer("POST", f"{path}/withdraw")).status_code == (403 if is_shown else 404)
        assert (await officer.approve(each.json()["id"])).status_code == (403 if is_shown else 404)
    refused: list[tuple[str, str, Any]] = [
        ("GET", "screenings", None), ("POST", "screenings", {"items": []}), ("POST", "screenings/adjudicate", verdict),
        ("GET", f"data-sets/{data}", None), ("GET", "eligibility", None), ("GET", "people/acme/us/eligibility", None),
    ]  # fmt: skip
    for method, path, body in refused:
        assert (await officer(method, path, body)).status_code == 403, path


@pytest.mark.parametrize("step", ["suspend", "revoke"])
async def test_the_key_of_whoever_has_left_or_is_suspended_opens_nothing(service, officers, step):
    officer, second, _ = officers
    key = await service.key(Role.COMPLIANCE, person="acme/us")
    theirs = Rest(service, key)
    proposed = (await officer("PATCH", "organizations/other", {"name": "x"}, **ANY)).json()["id"]
    assert (await theirs("GET", "people")).status_code == 200
    assert (await service.client.post("/access/v1/evaluation", json=question(), headers=key)).status_code == 200
    assert (await officer("POST", f"people/acme/us/{step}")).status_code == 200
    for method, path in (
        ("GET", "people"),
        ("POST", f"change-requests/{proposed}/approve"),
        ("POST", "people/acme/ca/suspend"),
    ):
        assert (await theirs(method, path)).status_code == 401
    assert (await service.client.post("/access/v1/evaluation", json=question(), headers=key)).status_code == 401
    if step == "suspend":
        back = (await officer("POST", "people/acme/us/activate")).json()["id"]
        assert (await second.approve(back)).status_code == 200
        assert (await theirs("GET", "people")).status_code == 200


async def test_a_service_proposes_nothing(service):
    automatic = Rest(service, service.authorization(Role.COMPLIANCE))
    stop = (await automatic("POST", "stops", {"scope": "everything"})).json()["id"]
    before = service.sql("SELECT n FROM revision")
    status = {"us_person": "unknown"}
    for method, path, members in (
        ("PATCH", "organizations/acme", {"name": "x"}),
        ("POST", "grants", NEW["grants"] | {"status": "active"}),
        ("PUT", "people/acme/ca/assessment", status),
        ("PUT", "organizations/acme/ownership", {"owners": []}),
        ("POST", f"stops/{stop}/lift", None),
    ):
        assert (await automatic(method, path, members, **ANY)).status_code == 403, path
    assert before == service.sql("SELECT n FROM revision")


@pytest.mark.parametrize("step", ["suspend", "revoke"])
async def test_what_a_leaver_proposed_is_not_confirmed(service, officers, step):
    theirs = Rest(service, await service.key(Role.COMPLIANCE, person="acme/us"))
    made = (await theirs("PATCH", "organizations/other", {"name": "x"}, **ANY)).json()["id"]
    assert (await officers[0]("POST", f"people/acme/us/{step}")).status_code == 200
    answer = await officers[1].approve(made)
    assert (answer.status_code, "request it anew" in answer.json()["detail"]) == (409, True)


async def test_whoever_is_locked_for_an_incident_does_not_release_themselves(service, officers):
    theirs = Rest(service, await service.key(Role.COMPLIANCE, person="acme/us"))
    lock = (await officers[0]("POST", "stops", {"scope": "person", "target": "acme/us", "incident": "I-1"})).json()[
        "id"
    ]
    lift = (await officers[0]("POST", f"stops/{lock}/lift")).json()["id"]
    assert (await theirs("POST", f"stops/{lock}/lift")).status_code == 401
    assert (await theirs.approve(lift)).status_code == 401
    assert (await officers[1].approve(lift)).status_code == 200
    assert (await theirs("GET", "stops")).status_code == 200


async def test_an_administrator_of_a_terminated_organization_does_nothing(service, officers):
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))
    assert (await officers[0]("POST", "organizations/acme/suspend")).status_code == 200
    assert (await admin("GET", "people")).status_code == 200
    assert (await officers[0]("POST", "organizations/acme/revoke")).status_code == 200
    assert (await admin("GET", "people")).status_code == 401


async def test_a_blank_takes_no_proposal_out_of_its_authority(service, officers):
    other = Rest(service, await service.key(Role.OFFICER, authority="export-office"))
    grant = NEW["grants"] | {"authority": " orrery", "status": "active"}
    made = (await officers[0]("POST", "grants", grant)).json()["id"]
    assert (await other("GET", f"change-requests/{made}")).status_code == 404


@pytest.mark.parametrize("name", ["stop", "suspension"])
async def test_what_is_stopped_again_is_not_opened_by_what_was_proposed_before(service, officers, name):
    one, two, three = officers
    again: tuple[str, dict[str, str] | None]
    if name == "stop":
        again = ("stops", {"scope": "model", "target": "mythos-5"})
        back = f"stops/{(await one('POST', *again)).json()['id']}/lift"
    else:
        again, back = ("people/acme/us/suspend", None), "people/acme/us/activate"
        await one("POST", *again)
    assert (await three("POST", *again)).status_code == 409
    made = (await one("POST", back)).json()["id"]
    stood = await three("POST", *again)
    assert stood.status_code in {200, 201}, stood.text
    assert (await two.approve(made)).status_code == 409
    assert await primary(service) != "ALLOW"
    assert (await three("POST", *again)).status_code == 409
