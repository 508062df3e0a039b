"""Onboarding: an organization's administrator sends and fetches the own list, and asserts what is theirs."""

import csv
import io

import pytest

from mythos_gate.registry import callers
from mythos_gate.terms import Role
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio
PEOPLE = (
    "external_id,name,email,work_country,employment,training_expires,acceptable_use,technology_control_plan,"
    "obligations_evidence\n"
    "e-1,Jo Example,jo@acme.example,Germany,employee,2030-01-01,yes,yes,LMS-17\n"
    "e-2,Ann Example,,US,contractor,,no,no,\n"
)


@pytest.fixture
async def admin(service):
    return Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))


async def send(rest, kind, text, **headers):
    return await rest.client.post(
        f"/v1/{kind}/import",
        content=text.encode(),
        headers=rest.headers | {"Content-Type": "text/csv; charset=utf-8"} | headers,
    )


async def fetch(rest, kind, query=""):
    answer = await rest("GET", f"{kind}/export{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_a_list_is_sent_fetched_and_sent_again_without_a_change(service, admin):
    taken = await send(admin, "people", PEOPLE)
    assert taken.json() == {"rows": 2, "created": 2, "updated": 0, "unchanged": 0}, taken.text
    rows = await fetch(admin, "people")
    [jo] = [row for row in rows if row["external_id"] == "e-1"]
    assert jo == {
        "organization": "acme", "external_id": "e-1", "name": "Jo Example", "email": "jo@acme.example",
        "work_country": "DE", "employment": "employee", "training_expires": "2030-01-01T00:00:00.000000Z",
        "acceptable_use": "yes", "technology_control_plan": "yes", "obligations_evidence": "LMS-17",
    }  # fmt: skip
    assert {row["external_id"] for row in rows} == {"us", "ca", "e-1", "e-2"}
    again = (await admin("GET", "people/export")).text
    assert (await send(admin, "people", again)).json()["unchanged"] == 4
    # Whoever brought somebody in is on record as the one who asked for access.
    ((caller,),) = service.sql("SELECT id FROM callers WHERE organization_id IS NOT NULL")
    assert service.sql("SELECT DISTINCT requested_by FROM people WHERE starts_with(external_id, 'e-')") == [(caller,)]
    types = [item["body"]["type"] for item in await service.entries()]
    assert (types.count("exported"), types[-3:].count("imported")) == (2, 1)


@pytest.mark.parametrize(("person", "asked"), [(None, None), ("acme/us", "us")])
async def test_a_service_without_a_person_stands_nowhere_as_who_asked(service, person, asked):
    """Whoever asks for access is a person: two people were told apart by a name that is nobody's."""
    scope = callers.Scope(organization="acme", person=person)
    async with service.gate.registry.change("key_created", "test") as change:
        made = await callers.create_key(change, "directory", [Role.ORG_ADMIN], service=True, scope=scope)
    directory = Rest(service, {"Authorization": f"Bearer {made.text}"})
    one = await directory("POST", "people", {"external_id": "n-1", "employment": "employee"})
    assert (one.status_code, one.json()["requested_by"]) == (201, asked)
    assert (await send(directory, "people", "external_id,employment\nn-2,employee\n")).json()["created"] == 1
    assert (await directory("GET", "people/acme/n-2")).json()["requested_by"] == asked
    # And who asked before stays.
    assert (await send(directory, "people", "external_id,employment\nus,contractor\n")).json()["updated"] == 1
    assert (await directory("GET", "people/acme/us")).json()["requested_by"] == "r1"


async def test_agents_and_endpoints_too(admin):
    agents = "external_id,sponsor,scopes,expires,runtime_country,depth\nbuild,us,vuln-discovery|patch-validation,2030-01-01,US,1\n"
    assert (await send(admin, "agents", agents)).json()["created"] == 1
    assert (await send(admin, "endpoints", "organization,external_id,name\nacme,lab-1,Lab\n,lab-2,\n")).json()[
        "created"
    ] == 2
    scopes = {row["external_id"]: row["scopes"] for row in await fetch(admin, "agents")}
    assert scopes["build"] == "vuln-discovery;patch-validation"
    assert [set(row) for row in await fetch(admin, "endpoints")][:1] == [{"organization", "external_id", "name"}]


async def test_a_list_of_more_than_a_page_is_exported_whole(admin):
    listed = "external_id\n" + "".join(f"lab-{number}\n" for number in range(2_100))
    assert (await send(admin, "endpoints", listed)).json()["created"] == 2_100
    names = [row["external_id"] for row in await fetch(admin, "endpoints")]
    assert sorted(names) == sorted(["ep-1", *(f"lab-{number}" for number in range(2_100))])


@pytest.mark.parametrize(
    "column", ["us_person", "us_basis", "citizenships", "permanent_residencies", "evidence_expires"]
)
async def test_nationality_is_refused_by_name(service, admin, column):
    before = service.sql("SELECT n FROM revision")
    answer = await send(admin, "people", f"external_id,employment,{column}\ne-1,employee,IR\n")
    assert (answer.status_code, answer.json()["code"]) == (400, "NATIONALITY_FIELD_FORBIDDEN")
    [problem] = answer.json()["errors"]
    assert (problem["line"], problem["column"], problem["what"]) == (1, column, "this column is not yours to assert")
    assert before == service.sql("SELECT n FROM revision")
    one = await admin("POST", "people", {"external_id": "e-1", "employment": "employee", column: "x"})
    assert one.json()["code"] == "NATIONALITY_FIELD_FORBIDDEN"


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("people", "external_id,employment,status\ne-1,employee,active\n", "column status: this column is not yours"),
        ("people", "external_id,employment,approvals\ne-1,employee,a;b\n", "column approvals: this column is not yours"),
        ("people", "external_id,employment,requested_by\ne-1,employee,a\n", "column requested_by: this column is not"),
        ("people", "external_id,employment,review_due\ne-1,employee,2030-01-01\n", "column review_due: this column is"),
        ("endpoints", "external_id,attested\ne-1,yes\n", "column attested: this column is not yours"),
        ("people", "organization,external_id,employment\nother,e-1,employee\n", "line 2, column organization: 'other' is not the organization of this key"),
        ("people", "organization,external_id,employment\nnowhere,e-1,employee\n", "line 2, column organization: 'nowhere' is not the organization of this key"),
        ("people", "external_id,employment\ne-1,boss\n", "line 2, column employment: 'boss' is not one of the values"),
        ("people", "external_id\ne-1\n", "column employment: this column is missing"),
        ("people", "external_id,employment,training_expires\nus,employee,2031-01-01\n", "column obligations_evidence: must say where training and signatures are on file"),
        ("agents", "external_id,sponsor\nbot,nobody\n", "'acme/nobody' is no person on record"),
        ("people", "external_id,employment,colour\ne-1,employee,red\n", "'colour' is no column of this file: the columns are organization, external_id, name, email, work_country, employment, training_expires"),
        ("people", "", "the first line does not name the columns"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)  # fmt: skip
async def test_what_is_not_theirs_or_wrong_is_told_and_nothing_is_taken(service, admin, kind, text, told):
    before = service.sql("SELECT n FROM revision")
    answer = await send(admin, kind, text)
    assert (answer.status_code, told in answer.json()["detail"]) == (400, True), answer.json()["detail"]
    assert before == service.sql("SELECT n FROM revision")


async def test_training_and_signatures_need_a_reference_from_an_administrator_alone(service, admin):
    trained = {"training_expires": "2031-01-01T00:00:00Z", "acceptable_use": True}
    officer = Rest(service, service.authorization(Role.COMPLIANCE))
    refused = await admin("PATCH", "people/acme/us", trained, **{"If-Match": "*"})
    assert (refused.status_code, "obligations_evidence: must say" in refused.json()["detail"]) == (400, True)
    done = await admin("PATCH", "people/acme/us", trained | {"obligations_evidence": "LMS-9"}, **{"If-Match": "*"})
    assert (done.status_code, done.json()["obligations_evidence"]) == (200, "LMS-9")
    lost = await admin("PATCH", "people/acme/us", {"obligations_evidence": None}, **{"If-Match": "*"})
    assert (lost.status_code, "obligations_evidence: must say" in lost.json()["detail"]) == (400, True)
    # What is less needs no reference, and compliance may do no more than that.
    for rest in (admin, officer):
        less = await rest("PATCH", "people/acme/us", {"training_expires": "2030-01-01"}, **{"If-Match": "*"})
        assert less.status_code == 200, less.text
    for more in ({"training_expires": "2032-01-01"}, {"technology_control_plan": True}):
        await admin("PATCH", "people/acme/us", {"technology_control_plan": False}, **{"If-Match": "*"})
        answer = await officer("PATCH", "people/acme/us", more | {"obligations_evidence": "X"}, **{"If-Match": "*"})
        assert (
            answer.status_code,
            f"{next(iter(more))}: " in answer.text,
            "only revoked by others" in answer.text,
        ) == (
            400,
            True,
            True,
        )
    revoked = await officer("PATCH", "people/acme/us", {"training_expires": None}, **{"If-Match": "*"})
    assert revoked.json()["training_expires"] is None
    nothing = {"acceptable_use": False, "obligations_evidence": None}
    assert (await officer("PATCH", "people/acme/us", nothing, **{"If-Match": "*"})).status_code == 200
    new = {"external_id": "e-1", "employment": "employee", "acceptable_use": True}
    assert (
        await officer("POST", "people", new | {"organization": "acme", "obligations_evidence": "X"})
    ).status_code == 400
    assert (await admin("POST", "people", new)).status_code == 400
    assert (await admin("POST", "people", new | {"obligations_evidence": "A-1"})).status_code == 201


async def test_whoever_has_left_comes_back_under_another_name_alone(service, admin):
    await admin("POST", "people/acme/us/revoke")
    answer = await send(admin, "people", "external_id,employment\nus,employee\n")
    assert (answer.status_code, "register anew who comes back" in answer.json()["detail"]) == (400, True)
    assert (await send(admin, "people", "external_id,employment\nus,ended\n")).status_code == 200
    assert (await send(admin, "people", "external_id,employment\nus-2,employee\n")).status_code == 200


async def test_a_list_ends_employments_and_with_them_seats(service, admin):
    assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is True
    assert (await send(admin, "people", "external_id,employment\nca,ended\n")).json()["updated"] == 1
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


async def test_compliance_names_the_organization_and_sets_no_assessment_here(service):
    officer = Rest(service, service.authorization(Role.COMPLIANCE))
    assert (await officer("GET", "people/export")).status_code == 400
    assert len(await fetch(officer, "people", "?organization=acme")) == 2
    assert (await send(officer, "people", "organization,external_id,employment\nacme,e-9,employee\n")).json()[
        "created"
    ] == 1
    for column in ("us_person", "status", "approvals"):
        refused = await send(officer, "people", f"organization,external_id,employment,{column}\nacme,e-9,employee,x\n")
        assert refused.status_code == 400
    assert (await send(officer, "endpoints", "organization,external_id,attested\nacme,ep-1,no\n")).json()[
        "updated"
    ] == 1


async def test_another_organizations_list_is_empty_and_its_people_stay(service, admin):
    await service.load(people="organization,external_id,employment\nother,them,employee\n")
    assert await fetch(admin, "people", "?organization=other") == []
    assert await fetch(admin, "people", "?organization=nowhere") == []
    assert (await send(admin, "people", "external_id,employment\nthem,contractor\n")).json()["created"] == 1
    assert service.sql("SELECT employment FROM people WHERE external_id = 'them' ORDER BY 1") == [
        ("contractor",),
        ("employee",),
    ]


async def test_size_and_kind_of_the_body_are_bounded(service, admin):
    assert (await send(admin, "people", PEOPLE, **{"Content-Type": "application/json"})).status_code == 400
    large = PEOPLE + "".join(f"p-{number},,,,employee,,,,\n" for number in range(5_000))
    assert len(large) > service.gate.settings.body_limit
    assert (await send(admin, "people", large)).json()["created"] == 5_002
    over = "x" * (service.gate.settings.import_limit + 1)
    assert (await send(admin, "people", over)).status_code == 413
    assert (await admin.client.post("/v1/people", content=large, headers=admin.headers)).status_code == 413


async def test_nobody_else_sends_or_fetches(service):
    for role in (Role.GATEWAY, Role.AUDITOR, Role.OPERATOR):
        rest = Rest(service, service.authorization(role))
        assert (await send(rest, "people", PEOPLE)).status_code == 403
        assert (await rest("GET", "people/export")).status_code == 403
