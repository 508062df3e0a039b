"""Assessments: asserted by two officers of compliance, read by compliance alone, and every read in the log."""

import re

import pytest
from sqlalchemy import event

from mythos_gate.terms import Role
from tests.api.test_every_route import routes
from tests.api.test_resources import Rest
from tests.service import question
from tests.test_conventions import DECIDING

pytestmark = pytest.mark.anyio
PATH = "people/acme/new/assessment"
CANADIAN = {
    "us_person": "no",
    "evidence_expires": "2030-01-01T00:00:00Z",
    "citizenships": [{"country": "Canada", "acquired": "1991-01-01"}, {"country": "Utopia", "ended": "2019-09-01"}],
}


@pytest.fixture
async def officers(service):
    """Two, and a person whom nobody has assessed."""
    one, two = [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(2)]
    made = await one("POST", "people", {"organization": "acme", "external_id": "new", "employment": "employee"})
    assert made.status_code == 201
    return one, two


async def presence(service):
    told = await service.ask(question("acme/new", country="DE"))
    return told.json()["context"]["reason_admin"]["facts"]["presence"]


async def propose(rest, members=CANADIAN, tag=None):
    tag = tag or (await rest("GET", PATH)).headers["etag"]
    return await rest("PUT", PATH, members, **{"If-Match": tag})


async def test_until_a_second_officer_confirms_it_counts_for_nothing(service, officers):
    one, two = officers
    made = await propose(one)
    assert (made.status_code, made.json()["members"]) == (202, {})
    assert await presence(service) == "unverified"
    assert (await one.approve(made.json()["id"])).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    read = (await two("GET", PATH)).json()
    assert read["us_person"] == "unknown"
    assert [each["members"]["citizenships"][0]["country"] for each in read["requested"]] == ["Canada"]
    assert (await two.approve(made.json()["id"])).status_code == 200
    assert await presence(service) == "foreign_abroad"
    read = (await one("GET", PATH)).json()
    assert read["requested"] == []
    assert read["citizenships"] == [
        {"country": "Canada", "code": "CA", "acquired": "1991-01-01", "ended": None},
        {"country": "Utopia", "code": "UTOPIA", "acquired": None, "ended": "2019-09-01"},
    ]
    assert read["evidence_expires"] == "2030-01-01T00:00:00.000000Z"


async def test_what_is_replaced_is_replaced_as_a_whole(service, officers):
    one, two = officers
    for members in (CANADIAN, {"us_person": "yes", "us_basis": "lpr"}):
        made = await propose(one, members)
        assert (await two.approve(made.json()["id"])).status_code == 200
    assert service.sql(
        "SELECT count(*) FROM nationality_records r JOIN people p ON p.id = person_id WHERE external_id = 'new'"
    ) == [(0,)]
    assert await presence(service) == "us_abroad"


async def test_one_officer_withdraws_a_status_at_once(service, officers):
    one, two = officers
    made = await propose(one)
    await two.approve(made.json()["id"])
    answer = await one("POST", f"{PATH}/withdraw")
    assert (answer.status_code, answer.json()["us_person"]) == (200, "unknown")
    assert await presence(service) == "unverified"
    # The records stay.
    assert len((await one("GET", PATH)).json()["citizenships"]) == 2
    assert (await one("POST", f"{PATH}/withdraw")).status_code == 409


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"us_person": "perhaps"}, "us_person: "),
        ({}, "us_person: field required"),
        (CANADIAN | {"us_person": "yes"}, "nationality records are kept only for people who are not US persons"),
        (CANADIAN | {"citizenships": [{"country": "CA", "acquired": "2000-01-01", "ended": "1999-01-01"}]}, "citizenships: this value ends before"),
        (CANADIAN | {"citizenships": ["CA"]}, "citizenships.0: "),
        (CANADIAN | {"citizenships": [{"acquired": "2000-01-01"}]}, "citizenships.0.country: field required"),
        (CANADIAN | {"colour": "red"}, "one of the members is not known here"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_bad_input_is_told_without_the_value_and_nothing_is_kept(service, officers, members, told):
    before = service.sql("SELECT n FROM revision")
    answer = await propose(officers[0], members)
    assert answer.status_code == 400
    assert told in answer.json()["detail"]
    assert "1999" not in answer.text
    assert before == service.sql("SELECT n FROM revision")
    assert service.sql("SELECT count(*) FROM change_request_contents") == [(0,)]


async def test_a_stale_tag_and_none_are_refused(officers):
    one, two = officers
    tag = (await one("GET", PATH)).headers["etag"]
    first = await propose(one, tag=tag)
    second = await propose(one, CANADIAN | {"evidence_expires": None}, tag=tag)
    assert (await two.approve(first.json()["id"])).status_code == 200
    assert (await two.approve(second.json()["id"])).status_code == 412
    assert (await propose(one, tag=tag)).status_code == 412
    assert (await one("PUT", PATH, CANADIAN)).status_code == 428


async def test_nobody_else_reads_proposes_or_confirms(service, officers):
    one, _ = officers
    made = (await propose(one)).json()["id"]
    tag = {"If-Match": "*"}
    others = [
        Rest(service, await service.key(Role.ORG_ADMIN, organization="acme")),
        Rest(service, await service.key(Role.OFFICER, authority="export-office")),
        *(Rest(service, service.authorization(role)) for role in (Role.AUDITOR, Role.GATEWAY, Role.OPERATOR)),
    ]
    for other in others:
        for method, path in [("GET", PATH), ("PUT", PATH), ("POST", f"{PATH}/withdraw")]:
            assert (await other(method, path, CANADIAN, **tag)).status_code == 403
        # To an officer, who decides on other things, it is not even there.
        assert (await other.approve(made)).status_code == (404 if other is others[1] else 403)
        assert "Canada" not in (await other("GET", f"change-requests/{made}")).text
        assert "Canada" not in (await other("GET", "change-requests")).text


async def test_nobody_assesses_themselves(service, officers):
    _, two = officers
    self = Rest(service, await service.key(Role.COMPLIANCE, person="acme/new"))
    assert (await propose(self)).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    made = (await propose(two)).json()["id"]
    assert (await self.approve(made)).json()["code"] == "SELF_APPROVAL_FORBIDDEN"


async def test_reads_are_in_the_log_and_nationalities_are_nowhere_else(service, officers):
    one, two = officers
    made = (await propose(one)).json()["id"]
    await two.approve(made)
    before = len(await service.entries())
    read = await two("GET", PATH)
    found = (await two("GET", "people?country_group=A:1")).json()["items"]
    assert {item["external_id"] for item in found} == {"ca", "new"}
    entries = [item["body"] for item in (await service.entries())[before:]]
    assert [entry["type"] for entry in entries] == ["nationality_read"] * 2
    assert entries[0]["person"] == read.json()["id"]
    assert entries[1]["people"] == 2
    everything = str(await service.entries()) + (await one("GET", f"change-requests/{made}")).text
    for word in ("Canada", "Utopia", "1991-01-01", "2030-01-01"):
        assert word not in everything
    # The tag counts changes, so that it tells nothing of what they were.
    assert read.headers["etag"] == f'"{read.json()["id"]}-1"'


async def test_every_route_that_reads_of_nationality_notes_it(service, officers):
    """Whatever it asks the database for: told by the statements, not by its name."""
    one, _ = officers
    await propose(one)
    read = []
    apart = re.compile(r"FROM (nationality_records|export_assessments|change_request_contents|nationality_commitments)")

    def watch(_connection, _cursor, statement, *_):
        read.extend(apart.findall(statement.replace("\n", " ")))

    for engine in (service.gate.registry.engine, service.gate.reader):
        event.listen(engine.sync_engine, "before_cursor_execute", watch)
    noted: set[str] = set()
    silent: set[str] = set()
    for method, route in sorted(routes()):
        if method != "GET" or route in DECIDING:
            continue
        path = re.sub("{person}", "acme/new", re.sub("{reference}", "acme/new", route))
        for query in ("", "?country_group=A:1") if route == "/v1/people" else ("",):
            read.clear()
            before = len(await service.entries())
            answer = await service.client.get(re.sub(r"{\w+}", "x", path) + query, headers=one.headers)
            types = [entry["body"]["type"] for entry in (await service.entries())[before:]]
            told = "nationality_read" in types
            assert bool(read) == told, (path, answer.status_code, read, types)
            (noted if told else silent).add(route + query)
    assert noted == {"/v1/attention", "/v1/people?country_group=A:1", "/v1/people/{person}/assessment"}
    assert len(silent) > 40


async def test_people_are_found_by_country_group_by_compliance_alone(service, officers):
    one, _ = officers
    await service.load(
        people="organization,external_id,employment,us_person,citizenships\n"
        "acme,hk,employee,no,HK@1990-01-01\nacme,mo,employee,no,MO\nacme,past,employee,no,CN@1990-01-01..2000-01-01;DE@2000-01-01\n"
    )
    for group, expected in {"D:5": {"hk"}, "MO": {"mo"}, "A:1": {"ca", "past"}, "E:1": set()}.items():
        found = (await one("GET", f"people?country_group={group}")).json()["items"]
        assert {item["external_id"] for item in found} == expected, group
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))
    refused = await admin("GET", "people?country_group=D:5")
    assert (refused.status_code, refused.json()["code"]) == (403, "NATIONALITY_FIELD_FORBIDDEN")
    assert (await one("GET", "people?country_group=D:55")).status_code == 400
    assert (await one("GET", "agents?country_group=D:5")).status_code == 400
