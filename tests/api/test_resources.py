"""The registry over REST: every kind of record read, listed, created and changed by whoever may, and nobody else."""

import asyncio
from typing import Any

import pytest

from mythos_gate.registry import drafting, imports
from mythos_gate.registry.resources import BY_NAME, RESOURCES
from mythos_gate.terms import Role
from tests.service import question

pytestmark = pytest.mark.anyio
NEW: dict[str, dict[str, Any]] = {
    "authorities": {"authority": "bureau", "name": "Bureau", "kind": "government", "organization_cap": 2},
    "models": {
        "model": "mythos-6", "authority": "orrery", "name": "Mythos 6", "versions": ["6.0"], "capabilities": ["x"],
    },
    "organizations": {"organization": "third", "name": "Third", "status": "prospect", "parent_country": "Canada"},
    "grants": {
        "authority": "orrery", "reference": "V-9", "organization": "other", "model": "mythos-5",
        "not_before": "2026-01-01T00:00:00Z", "versions": ["5.1"], "capabilities": ["x"], "purposes": ["own"],
        "contractors": True, "seat_cap": 5, "allowed_countries": ["US", "Germany"],
    },
    "directives": {
        "authority": "export-office", "reference": "D-9", "model": "mythos-5", "versions": ["5.1"],
        "applies_to": "foreign_persons_or_abroad", "from": "2026-01-01T00:00:00Z", "exempt_organizations": ["acme"],
    },
    "people": {"organization": "acme", "external_id": "new", "name": "Jo New", "employment": "employee"},
    "agents": {"organization": "acme", "external_id": "new", "sponsor": "us", "scopes": ["x"], "depth": 0},
    "endpoints": {"organization": "acme", "external_id": "new"},
    "switches": {"name": "affiliates_rule", "from": "2026-01-01T00:00:00Z"},
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "authorities": {"organization_cap": None}, "models": {"versions": ["6.0", "6.1"]}, "organizations": {"parent_country": "DE"},
    "grants": {"seat_cap": None}, "directives": {"until": "2027-01-01T00:00:00Z"}, "people": {"email": "jo@acme.example"},
    "agents": {"depth": 1}, "endpoints": {"name": "laptop"}, "switches": {"until": "2027-01-01T00:00:00Z"},
}  # fmt: skip


class Rest:
    """Requests under one key; `second` approves what it requests."""

    def __init__(self, service, headers, second=None):
        self.service, self.client, self.headers, self.second = service, service.client, headers, second

    async def __call__(self, method, path, members=None, **headers):
        answer = await self.client.request(method, f"/v1/{path}", json=members, headers=self.headers | headers)
        assert answer.status_code < 500, answer.text
        return answer

    async def approve(self, request, **decision):
        """Approve a change request, by its id or path, as it is read now."""
        path = f"change-requests/{request.rpartition('/')[2]}"
        found = await self("GET", path)
        seen = found.json()["sha256"] if found.status_code == 200 else "0" * 64
        return await self("POST", f"{path}/approve", {"sha256": seen} | decision)

    async def opened(self, opening, *others):
        """The id of a break-glass that these have approved."""
        request = await self("POST", "break-glass", opening)
        assert request.status_code == 202, request.text
        for other in others:
            approved = await other.approve(request.json()["id"])
            assert approved.status_code in {200, 202}, approved.text
        found = (await self("GET", "break-glass?limit=200")).json()["items"]
        return next(each["id"] for each in found if each["incident"] == opening["incident"])

    async def simulated(self, path, members):
        """As if terms of a grant or directive had been simulated."""
        name, _, identifier = path.partition("/")
        if identifier and name in drafting.TERMS:
            await self.service.simulated_terms(BY_NAME[name].kind, identifier, members)

    async def done(self, method, path, members, **headers):
        """The record when it is done, confirmed if it has to be."""
        await self.simulated(path, members)
        answer = await self(method, path, members, **headers)
        if answer.status_code == 202:
            approved = await self.second.approve(answer.headers["location"])
            assert approved.status_code == 200, approved.text
            answer = await self("GET", path)
        return answer


@pytest.fixture
async def second(service):
    """A second officer."""
    return Rest(service, await service.key(Role.COMPLIANCE))


@pytest.fixture
async def officer(service, second):
    return Rest(service, await service.key(Role.COMPLIANCE), second)


@pytest.fixture
async def admin(service):
    """An administrator of acme."""
    return Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))


# --- one kind like the other ------------------------------------------------------------------------------------


def test_every_resource_is_tried():
    assert {resource.name for resource in RESOURCES} == NEW.keys() == CHANGES.keys()


@pytest.mark.parametrize("name", NEW)
async def test_a_record_is_created_read_listed_and_changed_with_one_entry_for_each_write(service, officer, name):
    entries = len(await service.entries())
    made = await officer("POST", name, NEW[name])
    assert made.status_code == 201, made.text
    shown = made.json()
    assert made.headers["location"] == f"/v1/{name}/{shown['id']}"
    assert {member: shown[member] for member in NEW[name]} == NEW[name] | {
        member: value
        for member, value in {"parent_country": "CA", "allowed_countries": ["US", "DE"]}.items()
        if member in NEW[name]
    } | {each: f"{NEW[name][each][:-1]}.000000Z" for each in ("not_before", "from") if each in NEW[name]}
    again = await officer("GET", f"{name}/{shown['id']}")
    assert (again.json(), again.headers["etag"]) == (shown, made.headers["etag"])
    assert shown in (await officer("GET", name)).json()["items"]
    changed = await officer.done("PATCH", f"{name}/{shown['id']}", CHANGES[name], **{"If-Match": made.headers["etag"]})
    assert changed.status_code == 200, changed.text
    assert changed.headers["etag"] != made.headers["etag"]
    expected = {each: f"{value[:-1]}.000000Z" if each == "until" else value for each, value in CHANGES[name].items()}
    assert changed.json() == shown | expected
    written = [entry["body"] for entry in (await service.entries())[entries:]]
    resource = next(each for each in RESOURCES if each.name == name)
    proposed = ["change_requested"] if resource.widens else []
    written = [entry for entry in written if entry["type"] != "policy_reported"]
    assert [entry["type"] for entry in written] == [f"{resource.noun}_created", *proposed, f"{resource.noun}_changed"]
    assert {written[0][resource.noun], written[-1][resource.noun]} == {shown["id"]}
    assert written[-1]["members"] == sorted(CHANGES[name])


@pytest.mark.parametrize("name", NEW)
async def test_a_change_needs_the_tag_of_what_it_changes(service, officer, name):
    made = await officer("POST", name, NEW[name])
    path = f"{name}/{made.json()['id']}"
    assert (await officer("PATCH", path, CHANGES[name])).status_code == 428
    first = await officer.done("PATCH", path, CHANGES[name], **{"If-Match": made.headers["etag"]})
    assert first.status_code == 200
    before = service.sql("SELECT n FROM revision")
    late = await officer("PATCH", path, CHANGES[name], **{"If-Match": made.headers["etag"]})
    assert (late.status_code, late.headers["content-type"]) == (412, "application/problem+json")
    assert before == service.sql("SELECT n FROM revision")


@pytest.mark.parametrize("name", NEW)
async def test_what_is_on_record_is_not_created_again(officer, name):
    assert (await officer("POST", name, NEW[name])).status_code == 201
    again = await officer("POST", name, NEW[name])
    assert (again.status_code, again.json()["type"]) == (409, "urn:mythos-gate:problem:conflict")


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("role", [Role.GATEWAY, None], ids=str)
async def test_nobody_else_reads_or_writes(service, name, role):
    rest = Rest(service, service.authorization(role) if role else {})
    for method, path in [("GET", name), ("POST", name), ("GET", f"{name}/x"), ("PATCH", f"{name}/x")]:
        assert (await rest(method, path, {}, **{"If-Match": "*"})).status_code == (403 if role else 401)


async def test_a_list_comes_in_pages_that_leave_nothing_out(service, officer):
    people = "".join(f"acme,p{i},employee\n" for i in range(23))
    await service.load(people="organization,external_id,employment\n" + people)
    whole = (await officer("GET", "people?limit=200&organization=acme")).json()
    assert (len(whole["items"]), whole["next"]) == (25, None)
    paged: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await officer("GET", f"people?limit=7&organization=acme&cursor={cursor}")).json()
        paged, cursor = paged + page["items"], page["next"]
    assert paged == whole["items"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("grants?organization=acme", 2),
        ("grants?authority=orrery", 1),
        ("grants?model=mythos-5&status=active", 2),
        ("grants?status=revoked", 0),
        ("agents?sponsor=us", 1),
        ("people?organization=nowhere", 0),
        ("agents?expiring_within=2", 1),
        ("agents?expiring_within=0", 0),
        ("people?expiring_within=100&organization=acme", 2),
        ("grants?expiring_within=100", 2),
        ("grants?expiring_within=80", 0),
    ],
)
async def test_a_list_is_filtered(officer, query, expected):
    assert len((await officer("GET", query)).json()["items"]) == expected


# --- what is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "members", "told"),
    [
        ("people", {"external_id": "x"}, "organization, employment: must be there: add them"),
        ("people", NEW["people"] | {"employment": "boss"}, "employment: 'boss' is not one of the values: use employee"),
        ("people", NEW["people"] | {"employment": None}, "employment: must not be empty: fill it in"),
        (
            "people",
            NEW["people"] | {"colour": "red"},
            "one of the members is none of a person: they are organization, external_id",
        ),
        ("people", NEW["people"] | {"us_person": "yes"}, "us_person: is not set here"),
        ("people", NEW["people"] | {"approvals": ["a1", "a2"]}, "approvals: is not set here"),
        ("people", NEW["people"] | {"organization": "nowhere"}, "organization: 'nowhere' is no organization on record"),
        ("people", NEW["people"] | {"acceptable_use": "yes"}, "acceptable_use: is of another type: send a boolean"),
        ("people", NEW["people"] | {"email": "jo at acme"}, "email: this value is no e-mail address"),
        ("agents", NEW["agents"] | {"depth": True}, "depth: is of another type: send an integer"),
        ("agents", NEW["agents"] | {"scopes": "x"}, "scopes: is of another type: send an array"),
        ("agents", NEW["agents"] | {"scopes": ["a;b"]}, "scopes: is of another type"),
        ("agents", NEW["agents"] | {"sponsor": "nobody"}, "sponsor: 'acme/nobody' is no person on record"),
        ("grants", NEW["grants"] | {"not_after": "2025-01-01"}, "not_after: '2025-01-01' is not after not_before"),
        ("people", NEW["people"] | {"requested_by": "a"}, "requested_by: is not set here"),
        ("people", NEW["people"] | {"review_due": "2029-01-01"}, "review_due: is not set here"),
        (
            "people",
            NEW["people"] | {"external_id": "per_" + "0" * 32},
            "external_id: 'per_00000000000000000000000000000000' looks like an id",
        ),
        (
            "organizations",
            NEW["organizations"] | {"organization": "org_" + "0" * 32},
            "looks like an id of the gate's own",
        ),
        ("people", {}, "the object is empty"),
        ("people", {"jo@acme.example": 1}, "one of the members is none of a person: they are"),
        ("grants", NEW["grants"] | {"versions": ["5.\N{ARABIC-INDIC DIGIT ONE}"]}, "is no major.minor version"),
        ("grants", NEW["grants"] | {"versions": ["5.1.0"]}, "use 5.1, which names every 5.1.x"),
        ("grants", NEW["grants"] | {"not_before": "now-1d"}, "is a relative time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_input_is_told_where_what_and_how_to_mend(service, officer, name, members, told):
    before = service.sql("SELECT n FROM revision")
    answer = await officer("POST", name, members)
    assert answer.status_code == 400
    assert told in answer.json()["detail"]
    assert before == service.sql("SELECT n FROM revision")


async def test_status_and_name_are_not_changed_here(officer):
    for members in ({"status": "active"}, {"external_id": "x"}, {"organization": "other"}):
        assert (await officer("PATCH", "people/acme/us", members, **{"If-Match": "*"})).status_code == 400


@pytest.mark.parametrize(
    "path", ["people/acme/nobody", "people/per_0", "organizations/x/acme", "grants/V-1", "models/%00"]
)
async def test_the_unknown_is_404(officer, path):
    assert (await officer("GET", path)).status_code in {400, 404}


async def test_a_filter_that_says_nothing_is_told(officer):
    assert (await officer("GET", "organizations?expiring_within=9")).status_code == 400
    for query in (
        "expiring_within=x",
        "status=bogus",
        "status=active&status=suspended",
        "organization=%00",
        "organization=a/b",
    ):
        assert (await officer("GET", f"people?{query}")).status_code == 400


async def test_a_tag_may_stand_in_a_list(officer):
    tag = (await officer("GET", "people/acme/us")).headers["etag"]
    for given, status in {f'"x", {tag}': 200, f"W/{tag}": 412, '"x"': 412}.items():
        answer = await officer("PATCH", "people/acme/us", {"name": given}, **{"If-Match": given})
        assert (given, answer.status_code) == (given, status)


async def test_whoever_has_left_does_not_come_back_here(officer, admin):
    assert (await officer("POST", "people/acme/us/revoke")).status_code == 200
    for rest in (officer, admin):
        answer = await rest("PATCH", "people/acme/us", {"employment": "employee"}, **{"If-Match": "*"})
        assert (answer.status_code, "nothing further is possible" in answer.json()["detail"]) == (409, True)


async def test_one_person_of_many_is_written_without_reading_the_others(service, officer, monkeypatch):
    read = []
    real = imports._stored

    async def counted(*arguments):
        found = await real(*arguments)
        read.append(len(found))
        return found

    monkeypatch.setattr(imports, "_stored", counted)
    assert (await officer("POST", "people", NEW["people"])).status_code == 201
    assert (await officer("PATCH", "people/acme/us", {"name": "N"}, **{"If-Match": "*"})).status_code == 200
    assert max(read) <= 2  # the person, and the approvals of two


async def test_of_two_changes_at_once_one_is_told_to_read_again(service, officer):
    tag = (await officer("GET", "people/acme/us")).headers["etag"]
    answers = await asyncio.gather(
        *(officer("PATCH", "people/acme/us", {"name": f"N{i}"}, **{"If-Match": tag}) for i in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


async def test_a_person_whose_employment_ends_here_loses_the_seats(service, officer):
    assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is True
    await officer("PATCH", "people/acme/ca", {"employment": "ended"}, **{"If-Match": "*"})
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]
    assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is False


# --- an organization's own administrator ------------------------------------------------------------------------


async def test_an_administrator_enrols_staff_of_the_own_organization(service, admin):
    made = await admin("POST", "people", {"external_id": "jo", "employment": "employee"})
    assert made.status_code == 201, made.text
    assert made.json()["organization"] == "acme"
    ((caller,),) = service.sql("SELECT id FROM callers WHERE organization_id IS NOT NULL")
    assert made.json()["requested_by"] == caller
    for name, members in {"agents": {"external_id": "jo", "sponsor": "jo"}, "endpoints": {"external_id": "jo"}}.items():
        assert (await admin("POST", name, members)).status_code == 201
    told = (await service.ask(question("acme/jo", endpoint="jo"))).json()
    assert told["decision"] is False  # enrolled, neither assessed nor approved


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("people", {"training_expires": "2031-01-01"}),
        ("people", {"review_due": "2027-01-01"}),
        ("people", {"requested_by": "somebody"}),
        ("people", {"status": "active"}),
        ("endpoints", {"attested": True}),
    ],
)
async def test_an_administrator_asserts_only_what_is_theirs(admin, name, members):
    created = await admin("POST", name, {"external_id": "jo", "employment": "employee"} | members)
    assert created.status_code in {400, 403}
    path = {"people": "people/acme/us", "endpoints": "endpoints/acme/ep-1"}[name]
    assert (await admin("PATCH", path, members, **{"If-Match": "*"})).status_code in {400, 403}


async def test_an_administrator_never_learns_of_another_organization(service, admin):
    await service.load(people="organization,external_id,employment\nother,them,employee\n")
    ((them,),) = service.sql("SELECT id FROM people WHERE external_id = 'them'")
    answers = [
        await admin("GET", path)
        for path in ("people/other/them", "people/nowhere/them", f"people/{them}", "people/per_0", "people/acme/none")
    ]
    assert {(answer.status_code, answer.json()["detail"]) for answer in answers} == {(404, "no such person")}
    for organization in ("other", "nowhere"):
        refused = await admin(
            "POST", "people", {"organization": organization, "external_id": "x", "employment": "employee"}
        )
        assert (refused.status_code, refused.json()["detail"]) == (403, "organization: this key may not assert it")
        assert (await admin("GET", f"people?organization={organization}")).json()["items"] == []
    # A name that another organization uses is free.
    assert (await admin("POST", "people", {"external_id": "them", "employment": "employee"})).status_code == 201
    for name in ("people", "agents", "endpoints"):
        items = (await admin("GET", name)).json()["items"]
        assert items
        assert {item["organization"] for item in items} == {"acme"}
    for name in ("organizations", "grants", "directives", "models", "authorities"):
        assert (await admin("GET", name)).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "people/{}/us/suspend",
        "people/{}/us/revoke",
        "agents/{}/bot/suspend",
        "agents/{}/bot/revoke",
        "endpoints/{}/ep-1/revoke",
    ],
)
async def test_an_administrator_takes_access_from_the_own_staff_and_no_others(service, path):
    await service.load(
        people="organization,external_id,employment\nother,us,employee\n",
        agents="organization,external_id,sponsor\nother,bot,us\n",
        endpoints="organization,external_id\nother,ep-1\n",
    )
    own, others = [Rest(service, await service.key(Role.ORG_ADMIN, organization=name)) for name in ("acme", "other")]
    before = service.sql("SELECT n FROM revision")
    foreign = await others("POST", path.format("acme"))
    nowhere = await others("POST", path.format("nowhere"))
    assert (foreign.status_code, foreign.json()["detail"]) == (nowhere.status_code, nowhere.json()["detail"])
    assert foreign.status_code == 404
    table, _, name, step = path.split("/")
    ((identifier,),) = service.sql(
        f"SELECT r.id FROM {table} r JOIN organizations o ON o.id = organization_id WHERE slug = 'acme' AND external_id = %s",
        name,
    )
    assert (await others("POST", f"{table}/{identifier}/{step}")).status_code == 404
    assert before == service.sql("SELECT n FROM revision")
    assert (await own("POST", path.format("acme"))).status_code == 200
    assert (await own("POST", "organizations/acme/suspend")).status_code == 403
