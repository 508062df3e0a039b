"""SCIM: an organization's identity provider writes its people, and gives nobody access that was taken away."""

from typing import Any

import pytest

from mythos_gate.terms import Role
from tests.api.test_bad_input import spoiled
from tests.api.test_erasure import aged, erased
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
OWN = "urn:ietf:params:scim:schemas:extension:mythosgate:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
MEDIA = "application/scim+json"
USER: dict[str, Any] = {
    "schemas": [CORE, ENTERPRISE, OWN],
    "userName": "zora@acme.example",
    "externalId": "e-7",
    "name": {"givenName": "Zora", "familyName": "Quill"},
    "emails": [{"value": "zora@home.example", "type": "home"}, {"value": "zora@acme.example", "type": "work"}],
    "active": True,
    ENTERPRISE: {"department": "Grid"},
    OWN: {"employment": "employee", "workCountry": "Germany"},
}


class Scim:
    """Requests of one organization's provider."""

    def __init__(self, service, headers):
        self.service, self.headers = service, headers

    async def __call__(self, method, path, body=None, **more):
        headers = self.headers | ({"Content-Type": MEDIA} if body is not None else {}) | more
        answer = await self.service.client.request(method, f"/scim/v2/{path}", json=body, headers=headers)
        assert answer.status_code < 500, answer.text
        if answer.status_code != 204:
            assert answer.headers["content-type"] == MEDIA, answer.text
        if answer.status_code >= 400:
            assert answer.json()["schemas"] == [ERROR]
            assert answer.json()["status"] == str(answer.status_code)
        return answer

    async def made(self, **more):
        answer = await self("POST", "Users", USER | more)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == answer.json()["meta"]["location"]
        return answer.json()["id"]

    async def patched(self, identifier, *operations, kind="Users"):
        answer = await self("PATCH", f"{kind}/{identifier}", {"schemas": [PATCH], "Operations": list(operations)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def found(self, query, kind="Users"):
        answer = await self("GET", f"{kind}?{query}")
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json().get("Resources", ())]


@pytest.fixture
async def scim(service):
    return Scim(service, await service.key(Role.SCIM, organization="acme"))


@pytest.fixture
async def officers(service):
    return [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(2)]


def replaced(path, value):
    return {"op": "replace", "path": path, "value": value}


async def decision(service, subject):
    return (await service.ask(question(subject, country="DE"))).json()["decision"]


async def person(service, reference):
    return (await service.get(f"/v1/people/{reference}", Role.COMPLIANCE)).json()


# --- people -----------------------------------------------------------------------------------------------------


async def test_a_user_is_a_person_of_the_registry(service, scim):
    identifier = await scim.made()
    found = await person(service, "acme/e-7")
    wanted = {"id": identifier, "name": "Zora Quill", "email": "zora@acme.example", "work_country": "DE"}
    wanted |= {"employment": "employee", "status": "active", "approvals": []}
    assert {name: found[name] for name in wanted} == wanted
    read = (await scim("GET", f"Users/{identifier}")).json()
    assert sorted(read.pop("schemas")) == sorted(USER["schemas"])
    assert USER | read | {"schemas": None} == read | {"schemas": None}


async def test_a_new_user_is_allowed_nothing(service, scim):
    await scim.made()
    assert await decision(service, "acme/e-7") is False


async def test_who_is_not_said_to_be_an_employee_is_taken_for_a_contractor(service, scim):
    await scim.made(**{OWN: {}})
    assert (await person(service, "acme/e-7"))["employment"] == "contractor"


async def test_whom_the_registry_has_already_is_found_and_not_made_anew(service, scim):
    before = await person(service, "acme/us")
    for query in ('filter=userName eq "us"', 'filter=externalId eq "us"', f'filter=id eq "{before["id"]}"'):
        assert await scim.found(query) == [before["id"]]
    answer = await scim("POST", "Users", USER | {"userName": "us"})
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    shown = await scim.patched(before["id"], replaced("userName", "ursula@acme.example"))
    assert shown["userName"] == "ursula@acme.example"
    assert await scim.found('filter=userName eq "URSULA@acme.example"') == [before["id"]]
    assert await scim.found('filter=userName eq "us"') == []
    assert (await person(service, "acme/us"))["approvals"] == before["approvals"]


async def test_what_the_registry_was_told_since_is_shown(service, scim, officers):
    identifier = await scim.made()
    answer = await officers[0](
        "PATCH", f"people/{identifier}", {"name": "Zora Vane", "email": None}, **{"If-Match": "*"}
    )
    assert answer.status_code == 200, answer.text
    shown = (await scim("GET", f"Users/{identifier}")).json()
    assert shown["displayName"] == "Zora Vane"
    assert "emails" not in shown
    assert shown["name"] == USER["name"]


@pytest.mark.parametrize("name", ["userName", "externalId"])
async def test_a_name_is_one_users_within_the_organization_alone(service, scim, name):
    await scim.made()
    again = USER | {"userName": "other", "externalId": "other"} | {name: USER[name]}
    answer = await scim("POST", "Users", again)
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    third = await scim.made(userName="third", externalId="third")
    answer = await scim("PATCH", f"Users/{third}", {"schemas": [PATCH], "Operations": [replaced(name, USER[name])]})
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    other = Scim(service, await service.key(Role.SCIM, organization="other"))
    assert await other.made() != third


async def test_a_put_takes_away_what_it_does_not_name(service, scim):
    identifier = await scim.made()
    kept = {name: USER[name] for name in ("schemas", "userName", "active")}
    answer = await scim("PUT", f"Users/{identifier}", kept)
    assert answer.status_code == 200
    assert {"name", "emails", "externalId", OWN, ENTERPRISE} & answer.json().keys() == set()
    found = await person(service, "acme/e-7")  # what gateways call them stays
    assert (found["name"], found["work_country"], found["employment"]) == (None, None, "contractor")


# --- access ends, and is not given back ---------------------------------------------------------------------------


ENDING = {
    "replace active": [replaced("active", False)],
    "as Entra spells it": [{"op": "Replace", "path": "active", "value": "False"}],
    "without a path": [{"op": "replace", "value": {"active": False}}],
    "as Entra spells that": [{"op": "Replace", "value": {"active": "False"}}],
    "add": [{"op": "Add", "path": "active", "value": "False"}],
    "taken away": [{"op": "Remove", "path": "active"}],
}


@pytest.mark.parametrize("operations", ENDING.values(), ids=ENDING)
async def test_the_next_decision_about_somebody_inactive_denies(service, scim, operations):
    assert await decision(service, "acme/us") is True
    (identifier,) = await scim.found('filter=userName eq "us"')
    shown = await scim.patched(identifier, *operations)
    assert shown.get("active") is not True
    assert await decision(service, "acme/us") is False
    assert (await person(service, "acme/us"))["status"] == "suspended"
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]
    assert await decision(service, "acme/ca") is True


async def test_a_put_ends_access_too(service, scim):
    assert await decision(service, "acme/us") is True
    (identifier,) = await scim.found('filter=userName eq "us"')
    await scim("PUT", f"Users/{identifier}", {"schemas": [CORE], "userName": "us", "active": False})
    assert await decision(service, "acme/us") is False


async def test_nobody_gets_access_back_by_their_provider_alone(service, scim, officers):
    (identifier,) = await scim.found('filter=userName eq "us"')
    await scim.patched(identifier, replaced("active", False))
    for value in (True, "True"):
        assert (await scim.patched(identifier, replaced("active", value)))["active"] is False
        assert await decision(service, "acme/us") is False
    # It was asked for, once, and an officer may grant it.
    (asked,) = (await officers[0]("GET", "change-requests?state=requested")).json()["items"]
    assert (asked["action"], asked["reference"]) == ("activate", identifier)
    assert (await officers[0].approve(asked["id"])).status_code == 200
    assert await decision(service, "acme/us") is True
    assert (await scim("GET", f"Users/{identifier}")).json()["active"] is True


async def test_whom_an_officer_suspended_the_provider_cannot_activate(service, scim, officers):
    (identifier,) = await scim.found('filter=userName eq "us"')
    assert (await officers[0]("POST", "people/acme/us/suspend")).status_code == 200
    assert (await scim("GET", f"Users/{identifier}")).json()["active"] is False
    whole = {"schemas": [CORE], "userName": "us", "active": True, "displayName": "U", OWN: {"employment": "employee"}}
    assert (await scim("PUT", f"Users/{identifier}", whole)).json()["active"] is False
    assert (await person(service, "acme/us"))["name"] == "U"
    assert await decision(service, "acme/us") is False


async def test_who_comes_inactive_is_asked_for_when_active(service, scim, officers):
    identifier = await scim.made(active=False)
    assert (await person(service, "acme/e-7"))["status"] == "suspended"
    assert (await scim.patched(identifier, replaced("active", True)))["active"] is False
    assert len((await officers[0]("GET", "change-requests?state=requested")).json()["items"]) == 1


async def test_who_was_deleted_has_left_and_is_not_there_any_more(service, scim):
    assert await decision(service, "acme/us") is True
    (identifier,) = await scim.found('filter=userName eq "us"')
    assert (await scim("DELETE", f"Users/{identifier}")).status_code == 204
    assert await decision(service, "acme/us") is False
    assert (await person(service, "acme/us"))["employment"] == "ended"
    nobody = await scim("GET", "Users/per_0")
    for method, body in (("GET", None), ("PUT", USER), ("PATCH", {"schemas": [PATCH], "Operations": [replaced("active", True)]}), ("DELETE", None)):  # fmt: skip
        answer = await scim(method, f"Users/{identifier}", body)
        assert (answer.status_code, answer.json()) == (404, nobody.json())
    assert identifier not in await scim.found("count=200")


async def test_who_comes_back_is_somebody_new(service, scim):
    first = await scim.made()
    await scim("DELETE", f"Users/{first}")
    second = await scim.made()
    assert second != first
    assert (await person(service, "acme/e-7"))["id"] == first
    assert (await person(service, "acme/e-7.2"))["id"] == second


async def test_who_has_left_is_not_activated(service, scim, officers):
    (identifier,) = await scim.found('filter=userName eq "us"')
    assert (await officers[0]("POST", "people/acme/us/revoke")).status_code == 200
    answer = await scim("PATCH", f"Users/{identifier}", {"schemas": [PATCH], "Operations": [replaced("active", True)]})
    assert answer.status_code == 409
    assert await decision(service, "acme/us") is False


# --- the dialects -------------------------------------------------------------------------------------------------

DIALECTS = {
    "dotted keys without a path": (
        [{"op": "Add", "value": {"name.givenName": "Nell", f"{ENTERPRISE}:department": "Lines", f"{OWN}:workCountry": "US"}}],
        lambda user: (user["name"]["givenName"], user[ENTERPRISE]["department"], user[OWN]["workCountry"]),
        ("Nell", "Lines", "US"),
    ),
    "one value among many": (
        [{"op": "Replace", "path": 'emails[type eq "work"].value', "value": "nell@acme.example"}],
        lambda user: [each["value"] for each in user["emails"]],
        ["zora@home.example", "nell@acme.example"],
    ),
    "one value that is not there": (
        [{"op": "Add", "path": 'emails[type eq "other"].value', "value": "nell@acme.example"}],
        lambda user: len(user["emails"]),
        3,
    ),
    "a manager by the id alone": (
        [{"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "per_1"}],
        lambda user: user[ENTERPRISE]["manager"]["value"],
        "per_1",
    ),
    "what the gate has no use for": (
        [{"op": "Add", "path": 'phoneNumbers[type eq "work"].value', "value": "1"}, replaced("title", "Queen")],
        lambda user: {"phoneNumbers", "title"} & user.keys(),
        set(),
    ),
    "a country by its name": ([replaced(f"{OWN}:workCountry", "France")], lambda user: user[OWN]["workCountry"], "France"),
}  # fmt: skip


@pytest.mark.parametrize(("operations", "of", "wanted"), DIALECTS.values(), ids=DIALECTS)
async def test_it_is_understood_as_providers_speak_it(scim, operations, of, wanted):
    identifier = await scim.made()
    assert of(await scim.patched(identifier, *operations)) == wanted


REFUSED = {
    "no country": (replaced(f"{OWN}:workCountry", "Utopia"), 400, "invalidValue"),
    "no employment": (replaced(f"{OWN}:employment", "volunteer"), 400, "invalidValue"),
    "no address": (replaced("emails", [{"value": "nobody"}]), 400, "invalidValue"),
    "no path": ({"op": "replace", "path": "userName[", "value": "x"}, 400, "invalidPath"),
    "no name": (replaced("userName", ""), 400, "invalidValue"),
    "too long": (replaced("userName", "x" * 257), 400, "invalidValue"),
    "the gate's own": (replaced("id", "x"), 400, "mutability"),
    "no operation": ({"op": "move", "path": "userName"}, 400, "invalidValue"),
    "no boolean": (replaced("active", "perhaps"), 400, "invalidValue"),
}


async def test_who_calls_is_said_once_and_told_so_in_the_form_of_scim(service, scim):
    headers = [("Authorization", scim.headers["Authorization"])] * 2
    answer = await service.client.get("/scim/v2/Users", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/scim+json")
    assert answer.json()["schemas"] == [ERROR]


@pytest.mark.parametrize(("operation", "status", "kind"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_is_refused_in_the_form_of_scim_and_changes_nothing(
    service, scim, operation, status, kind
):
    identifier = await scim.made()
    before, entries = (await scim("GET", f"Users/{identifier}")).json(), len(await service.entries())
    body = {"schemas": [PATCH], "Operations": [replaced("displayName", "Changed"), operation]}
    answer = await scim("PATCH", f"Users/{identifier}", body)
    assert (answer.status_code, answer.json().get("scimType")) == (status, kind), answer.text
    assert (await scim("GET", f"Users/{identifier}")).json() == before
    assert len(await service.entries()) == entries


@pytest.mark.parametrize("path", ["Users", "Users/{}", "Users/.search"])
async def test_what_is_no_acceptable_body_is_told_and_changes_nothing(service, scim, path):
    identifier = await scim.made()
    entries = len(await service.entries())
    for method in ("PUT", "PATCH") if "{" in path else ("POST",):
        for named, content in spoiled(USER).items():
            url, headers = f"/scim/v2/{path.format(identifier)}", scim.headers | {"Content-Type": MEDIA}
            answer = await service.client.request(method, url, content=content, headers=headers)
            assert (answer.status_code, answer.json()["schemas"]) == (400, [ERROR]), (method, named, answer.text)
    assert len(await service.entries()) == entries


async def test_errors_have_one_form_wherever_they_come_from(service, scim):
    broken = b'{"userName": "\\u0000"}'
    answers = [
        await service.client.get("/scim/v2/Users"),
        await service.client.get("/scim/v2/Users", headers=service.authorization(Role.COMPLIANCE)),
        await scim("GET", "Nothing"),
        await scim("PUT", "Groups/%0A", {"schemas": [GROUP], "displayName": "x"}),
        await scim("GET", "Users?colour=red"),
        await scim("GET", "Users?filter=userName sw %22z%22"),
        await scim("GET", "Users?filter=displayName eq %22z%22"),
        await scim("PUT", "Users"),
        await service.client.post("/scim/v2/Users", content=broken, headers=scim.headers),
        await service.client.post("/scim/v2/Users", content=b"x", headers=scim.headers | {"Content-Type": MEDIA}),
        await service.client.post("/scim/v2/Users", content=b"{}", headers=scim.headers | {"Content-Type": "text/csv"}),
        await service.client.post("/scim/v2/Users", content=b" " * 70_000, headers=scim.headers),
    ]
    assert [answer.status_code for answer in answers] == [401, 403, 404, 404, 400, 400, 400, 405, 400, 400, 415, 413]
    for answer in answers:
        assert answer.headers["content-type"] == MEDIA
        assert answer.json()["schemas"] == [ERROR]
        assert answer.json()["status"] == str(answer.status_code)


async def test_a_stale_condition_is_told_and_a_known_version_is_not_sent_again(scim):
    identifier = await scim.made()
    tag = (await scim("GET", f"Users/{identifier}")).headers["etag"]
    unchanged = await scim.service.client.get(
        f"/scim/v2/Users/{identifier}", headers=scim.headers | {"If-None-Match": tag}
    )
    assert unchanged.status_code == 304
    await scim.patched(identifier, replaced("displayName", "Zo"))
    answer = await scim("PUT", f"Users/{identifier}", USER, **{"If-Match": tag})
    assert answer.status_code == 412


async def test_lists_are_paged_and_asked_for_by_name(scim):
    made = [await scim.made(userName=f"u-{number}", externalId=f"x-{number}") for number in range(3)]
    whole = (await scim("GET", "Users")).json()
    assert (whole["totalResults"], whole["startIndex"]) == (5, 1)
    pages = [await scim.found(f"startIndex={start}&count=2") for start in (1, 3, 5, 7)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert [each for page in pages for each in page] == [each["id"] for each in whole["Resources"]]
    assert await scim.found('filter=externalId eq "x-1" and userName eq "U-1"') == [made[1]]
    assert await scim.found('filter=externalId eq "x-1" and userName eq "u-2"') == []
    assert await scim.found('aadOptscim062020&filter=externalId eq "x-1"') == [made[1]]
    shown = (await scim("GET", f"Users/{made[0]}?attributes=userName")).json()
    assert shown.keys() == {"schemas", "id", "userName"}
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": 'userName eq "u-2"'}
    for path in (".search", "Users/.search"):
        assert [each["id"] for each in (await scim("POST", path, body)).json()["Resources"]] == [made[2]]


# --- groups -------------------------------------------------------------------------------------------------------


async def test_a_group_records_who_is_in_it_and_changes_nothing_else(service, scim):
    ((n,),) = service.sql("SELECT max(n) FROM touched")
    (us,) = await scim.found('filter=userName eq "us"')
    body = {"schemas": [GROUP], "displayName": "Analysts", "members": [{"value": us}]}
    made = await scim("POST", "Groups", body)
    assert made.status_code == 201
    group = made.json()["id"]
    assert [each["value"] for each in made.json()["members"]] == [us]
    assert made.json()["members"][0]["$ref"].endswith(f"/scim/v2/Users/{us}")
    assert [each["value"] for each in (await scim("GET", f"Users/{us}")).json()["groups"]] == [group]
    assert await scim.found('filter=displayName eq "analysts"', "Groups") == [group]
    await scim.patched(group, {"op": "Remove", "path": f'members[value eq "{us}"]'}, kind="Groups")
    assert "members" not in (await scim("GET", f"Groups/{group}")).json()
    await scim.patched(group, {"op": "Add", "path": "members", "value": [{"value": us}]}, kind="Groups")
    # As older Entra removes somebody.
    shown = await scim.patched(group, {"op": "Remove", "path": "members", "value": [{"value": us}]}, kind="Groups")
    assert "members" not in shown
    assert (await scim("DELETE", f"Groups/{group}")).status_code == 204
    assert (await scim("GET", f"Groups/{group}")).status_code == 404
    assert service.sql("SELECT max(n) FROM touched") == [(n,)]


async def test_who_is_no_user_of_the_organization_is_in_no_group_of_it(service, scim):
    other = Scim(service, await service.key(Role.SCIM, organization="other"))
    theirs = await other.made()
    group = (await scim("POST", "Groups", {"schemas": [GROUP], "displayName": "All"})).json()["id"]
    members = [{"value": each} for each in (theirs, "per_0", await scim.made())]
    shown = await scim.patched(group, {"op": "add", "path": "members", "value": members}, kind="Groups")
    assert [each["value"] for each in shown["members"]] == [members[2]["value"]]
    await scim("DELETE", f"Users/{members[2]['value']}")
    assert "members" not in (await scim("GET", f"Groups/{group}")).json()


# --- apart ----------------------------------------------------------------------------------------------------------


async def test_what_is_another_organizations_is_as_if_it_were_not(service, scim):
    other = Scim(service, await service.key(Role.SCIM, organization="other"))
    identifier = await scim.made()
    group = (await scim("POST", "Groups", {"schemas": [GROUP], "displayName": "All"})).json()["id"]
    body = {"schemas": [PATCH], "Operations": [replaced("displayName", "Stolen")]}
    for path, nothing in ((f"Users/{identifier}", "Users/per_0"), (f"Groups/{group}", "Groups/grp_0")):
        whole = {"schemas": [CORE, GROUP], "userName": "x", "displayName": "x"}
        for method, sent in (("GET", None), ("PUT", whole), ("PATCH", body), ("DELETE", None)):
            told = [await other(method, each, sent) for each in (path, nothing)]
            assert [each.status_code for each in told] == [404, 404]
            assert told[0].json() == told[1].json()
    for query in (
        f'filter=id eq "{identifier}"',
        'filter=userName eq "zora@acme.example"',
        'filter=externalId eq "e-7"',
    ):
        assert await other.found(query) == []
    assert (await scim("GET", f"Users/{identifier}")).json()["name"] == USER["name"]


async def test_a_providers_key_does_nothing_else(service, scim):
    for method, path in (
        ("GET", "/v1/people"),
        ("POST", "/v1/people"),
        ("GET", "/v1/log/entries"),
        ("POST", "/access/v1/evaluation"),
    ):
        body = None if method == "GET" else question()
        answer = await service.client.request(method, path, json=body, headers=scim.headers)
        assert answer.status_code == 403, path


async def test_each_write_is_one_entry_that_names_nobody(service, scim):
    before = len(await service.entries())
    identifier = await scim.made()
    await scim.patched(identifier, replaced("active", False), replaced("displayName", "Zo"))
    await scim.patched(identifier, replaced("displayName", "Zo"))  # which changes nothing
    await scim.patched(identifier, replaced("active", True))
    group = (await scim("POST", "Groups", {"schemas": [GROUP], "displayName": "All"})).json()["id"]
    await scim("DELETE", f"Groups/{group}")
    await scim("DELETE", f"Users/{identifier}")
    entries = (await service.entries())[before:]
    assert [each["body"]["type"] for each in entries] == [
        "person_created", "person_suspended", "person_changed", "group_created", "group_deleted", "person_revoked",
    ]  # fmt: skip
    assert {each["body"].get("person") or each["body"]["group"] for each in entries} == {identifier, group}
    assert entries[1]["body"]["members"] == ["attributes", "name"]
    assert entries[2]["body"]["change_request"].startswith("chg_")
    for each in entries:
        assert "zo" not in each["stored"].lower()


async def test_who_is_erased_is_no_user(service, scim, officers):
    identifier = await scim.made()
    group = {"schemas": [GROUP], "displayName": "All", "members": [{"value": identifier}]}
    await scim("POST", "Groups", group)
    aged(service)
    await erased(service, officers[0], officers[1], path="people/acme/e-7")
    assert (await scim("GET", f"Users/{identifier}")).status_code == 404
    assert service.sql("SELECT count(*) FROM scim_users") == [(0,)]
    assert service.sql("SELECT count(*) FROM scim_members") == [(0,)]


async def test_the_same_request_again_is_done_once(scim):
    answers = [await scim("POST", "Users", USER, **{"Idempotency-Key": "one"}) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
