"""What can be sent wrong, to every route: a 4xx that says where and how to mend, nothing left behind, nobody else hurt."""

import asyncio
import json
import re

import pytest

from mythos_gate.api.edge import FILES
from mythos_gate.registry import columns, imports
from mythos_gate.registry.kind import InvalidFile
from mythos_gate.terms import Permission, Role
from tests.api.test_every_route import ANY, WRITES, World, routes, send
from tests.api.test_resources import NEW, Rest
from tests.service import PROGRAMME, question

pytestmark = pytest.mark.anyio
SEARCHES = [f"access/v1/search/{kind}" for kind in ("subject", "resource", "action")]
EVALUATIONS = dict.fromkeys(["access/v1/evaluation", "v1/explain", *SEARCHES], question())
# Of the routes that write, those that need a JSON body.
BODIES = [route for route in WRITES if not route[1].endswith(("/import", "data-sets"))]


def spoiled(members):
    """Names and bytes of what is no acceptable body, made from one that is."""
    good = json.dumps(members).encode()
    first = json.dumps(next(iter(members)))
    return {
        "empty": b"",
        "truncated": good[:-1],
        "not JSON": b"{'a': 1}",
        "UTF-16": good.decode().encode("utf-16"),
        "Latin-1": b'{"name": "Jos\xe9"}',
        "a list": b"[" + good + b"]",
        "a text": b'"text"',
        "null": b"null",
        "deep": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        "a member twice": good[:-1] + f", {first}: 1}}".encode(),
        "NaN": good[:-1] + b', "zz": NaN}',
        "a huge number": good[:-1] + b', "zz": 1' + b"0" * 400 + b"}",
        "a lone surrogate": good[:-1] + b', "zz": "\\ud800"}',
        "another type": json.dumps({name: {"x": [1]} for name in members}).encode(),
    }


def is_told(answer, status=(400,)):
    assert answer.status_code in status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 10
    assert answer.json()["status"] == answer.status_code


@pytest.fixture
async def world(service):
    one, two = [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(2)]
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme", person="acme/us"))
    return World(service, one, two, admin)


def left(service):
    """What is there, apart from the entry that says who was refused."""
    changed = "SELECT count(*) FROM log_entries WHERE type NOT IN ('refused', 'session_opened')"
    return service.sql(f"SELECT n, ({changed}), (SELECT count(*) FROM change_requests) FROM revision")


STAFF = {Permission.ENROL, Permission.REVIEW, Permission.SUSPEND_STAFF}


def nowhere(text):
    """The same of an organization and a record that nobody has."""
    return re.sub(r"([a-z]{3})_[0-9a-f]{32}", rf"\1_{'0' * 32}", text.replace("acme", "nowhere"))


@pytest.mark.parametrize(
    "route", [route for route, given in routes().items() if given in STAFF and route in WRITES], ids=" ".join
)
async def test_what_is_another_tenants_is_told_as_what_nobody_has(world, route):
    service, (method, _) = world.service, route
    await service.load(people="organization,external_id,employment\nother,them,employee\n")
    stranger = Rest(service, await service.key(Role.ORG_ADMIN, organization="other", person="other/them"))
    path, members = await WRITES[route](world)
    before = left(service)
    theirs = await send(stranger, method, path, members)
    sent = nowhere(members) if isinstance(members, str) else members and json.loads(nowhere(json.dumps(members)))
    nobodys = await send(stranger, method, nowhere(path), sent)
    is_told(theirs, (400, 403, 404))
    assert theirs.status_code == nobodys.status_code
    assert nowhere(theirs.json()["detail"]) == nobodys.json()["detail"]
    assert left(service) == before


@pytest.mark.parametrize("route", [route for route in WRITES if route[0] in {"PATCH", "PUT"}], ids=" ".join)
async def test_a_stale_tag_is_told_and_so_is_none(world, route):
    path, members = await WRITES[route](world)
    before = left(world.service)
    for condition, status in (({"If-Match": '"stale"'}, 412), ({"If-Match": 'W/"stale", ""'}, 412), ({}, 428)):
        is_told(await world.one(route[0], path, members, **condition), (status,))
    assert left(world.service) == before


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
async def test_every_route_refuses_every_spoiled_body(world, route):
    service = world.service
    method, _ = route
    path, members = await WRITES[route](world)
    if not isinstance(members, dict):
        members = {"reason": "x"}  # where no body is needed, one that is there must still be one
        if not re.search(r"/(suspend|revoke)$", path) or path.startswith("keys/"):
            before = left(service)
            for body in (b"[{xxx\xff\x00", b'{"decision": "refuse"}', b"null", b"[]"):
                sent = await service.client.request(method, f"/v1/{path}", content=body, headers=world.one.headers)
                is_told(sent)
            large = await service.client.request(
                method, f"/v1/{path}", content=b"x" * 100_000, headers=world.one.headers
            )
            is_told(large, (413,))
            assert left(service) == before
            return
    before = left(service)
    headers = world.one.headers | {"Content-Type": "application/json"} | ANY
    for name, body in spoiled(members).items():
        if name == "empty" and "reason" in members:
            continue
        answer = await service.client.request(method, f"/v1/{path}", content=body, headers=headers)
        assert answer.status_code == 400, (name, answer.status_code, answer.text)
        is_told(answer)
    unknown = await service.client.request(method, f"/v1/{path}", json=members | {"colour": "red"}, headers=headers)
    is_told(unknown)
    plain = headers | {"Content-Type": "text/plain"}
    is_told(await service.client.request(method, f"/v1/{path}", content=json.dumps(members), headers=plain))
    large = json.dumps(members)[:-1] + f', "zz": "{"x" * 10_000_000}"}}'
    status = 400 if f"/v1/{path}" in FILES else 413
    is_told(await service.client.request(method, f"/v1/{path}", content=large, headers=headers), (status,))
    nothing = {name: f"{value}\x00" for name, value in members.items() if isinstance(value, str)}
    if nothing:
        is_told(await service.client.request(method, f"/v1/{path}", json=members | nothing, headers=headers))
    assert left(service) == before


@pytest.mark.parametrize("path", EVALUATIONS)
async def test_the_hot_routes_refuse_every_spoiled_body(service, path):
    before = left(service)
    headers = service.authorization(Role.COMPLIANCE) | {"Content-Type": "application/json"}
    for name, body in spoiled(EVALUATIONS[path]).items():
        answer = await service.client.post(f"/{path}", content=body, headers=headers)
        assert answer.status_code == 400, (name, answer.text)
        is_told(answer)
    for broken, searched in (
        (question() | {"subject": "acme/us"}, None),
        (question() | {"subject": {"type": "person"}}, "subject"),
        (question() | {"action": {"name": 7}}, "action"),
        (question() | {"context": []}, None),
        (question("acme/us\x00"), "subject"),
        (question() | {"resource": {"type": "model", "id": "x" * 257}}, "resource"),
    ):
        if path != f"access/v1/search/{searched}":  # there it is what is looked for
            is_told(await service.client.post(f"/{path}", json=broken, headers=headers))
    large = json.dumps(question())[:-1] + f', "zz": "{"x" * 10_000_000}"}}'
    is_told(await service.client.post(f"/{path}", content=large, headers=headers), (413,))
    assert left(service) == before


@pytest.mark.parametrize(
    "path",
    [
        "/access/v1/evaluation/",
        "//access/v1/evaluation",
        "/access//v1/evaluation",
        "/access/v1/../v1/evaluation",
        "/access/v1/%2e%2e/v1/evaluation",
        "/access/v1/evaluation%2f",
        "/access/v1/evaluation%00",
        "/access/v1/evaluation;x=1",
        "/ACCESS/v1/evaluation",
        "/access/v1/evaluation/x",
        "/access/v1/evaluationz",
    ],
)
async def test_path_tricks_reach_no_decision(service, path):
    answer = await service.client.post(path, json=question(), headers=service.authorization(Role.COMPLIANCE))
    assert answer.status_code == 404 or answer.request.url.raw_path == b"/access/v1/evaluation"
    if answer.status_code == 404:
        is_told(answer, (404,))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_reach_no_decision(service, method):
    before = left(service)
    headers = service.authorization(Role.COMPLIANCE)
    answer = await service.client.request(method, "/access/v1/evaluation", headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert left(service) == before


async def test_bad_requests_take_no_good_one_down_with_them(service):
    """They arrive together, so that their entries would share a commit."""
    headers = service.authorization(Role.COMPLIANCE)

    async def ask(body):
        return await service.client.post("/access/v1/evaluation", json=body, headers=headers)

    bad = [question("acme/us\x00"), question("x" * 300), question() | {"subject": 1}, {}]
    strange = [question("acme/\N{GRINNING FACE}"), question("acme/us", version="9" * 200), question("a/b/c/d")]
    answers = await asyncio.gather(*(ask(body) for _ in range(8) for body in (question(), *bad, *strange)))
    statuses = [answer.status_code for answer in answers]
    assert [statuses.count(status) for status in (200, 400)] == [32, 32]
    allowed = [answer for answer in answers if answer.status_code == 200 and answer.json()["decision"]]
    assert len(allowed) == 8


# --- values that are wrong for one field ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "members", "told"),
    [
        ("grants", NEW["grants"] | {"allowed_countries": ["US", "Atlantis"]}, "allowed_countries: 'Atlantis' is no country"),
        ("grants", NEW["grants"] | {"not_after": "2025-01-01T00:00:00Z"}, "not_after: '2025-01-01T00:00:00Z' is not after"),
        ("grants", NEW["grants"] | {"excluded_groups": ["D:99"]}, "excluded_groups: 'D:99' is no country group"),
        ("grants", NEW["grants"] | {"document_sha256": "abc"}, "document_sha256: 'abc' is no SHA-256"),
        ("grants", NEW["grants"] | {"seat_cap": -1}, "seat_cap: '-1' is no whole number"),
        ("grants", NEW["grants"] | {"seat_cap": 10**12}, "is no whole number from 0: use digits only, at most nine"),
        ("grants", NEW["grants"] | {"not_before": "9999-12-31T23:59:59-23:59"}, "is no time"),
        ("people", NEW["people"] | {"work_country": "Atlantis"}, "work_country: 'Atlantis' is no country"),
        ("agents", NEW["agents"] | {"runtime_country": "XX"}, "runtime_country: 'XX' is no country"),
        ("people", NEW["people"] | {"external_id": "../us"}, "external_id: '../us' cannot be used as a name here"),
        ("people", NEW["people"] | {"name": "a\nb"}, "name: this value contains a control character"),
        ("directives", NEW["directives"] | {"until": "2020-01-01T00:00:00Z"}, "until: '2020-01-01T00:00:00Z' is not after from"),
        ("models", NEW["models"] | {"versions": []}, "versions: must not be empty"),
        ("organizations", NEW["organizations"] | {"organization": "A"}, "organization: 'A' cannot be used as a name here"),
        ("stops", {"scope": "person", "target": "acme/nobody", "incident": "I"}, "target: 'acme/nobody' is no person"),
        ("break-glass", {"organization": "acme", "incident": "I", "hours": 9}, "hours: "),
        ("break-glass", {"organization": "acme", "incident": "", "hours": 1}, "incident: must not be empty"),
        ("switches", {"name": "other_rule", "from": "2026-01-01T00:00:00Z"}, "name: 'other_rule' is not one of"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)  # fmt: skip
async def test_a_wrong_value_is_told_with_its_place_and_remedy(world, path, members, told):
    before = left(world.service)
    answer = await world.one("POST", path, members)
    is_told(answer)
    assert told in answer.json()["detail"]
    assert left(world.service) == before


async def test_where_any_text_is_a_country_it_denies(world):
    """Nationality records, parent countries and a request's location take what is written, and deny."""
    service = world.service
    told = (await service.ask(question(country="Atlantis"))).json()
    assert told["context"]["reason_admin"]["facts"]["location"] == "unverified"
    members = {"parent_country": "Atlantis"}
    made = (await world.one("PATCH", "organizations/acme", members, **ANY)).json()["id"]
    assert (await world.two.approve(made)).status_code == 200
    told = (await service.ask(question())).json()
    assert (told["decision"], told["context"]["reason_admin"]["facts"]["ownership"]) == (False, "review_pending")


@pytest.mark.parametrize(
    "query",
    ["cursor=%00", "cursor=%ff", "limit=0", "limit=201", "limit=x", "limit=1&limit=2", "cursor=" + "x" * 300, "status=%ed%a0%80"],
)  # fmt: skip
@pytest.mark.parametrize(
    "name", ["people", "grants", "change-requests", "screenings", "keys", "data-sets", "eligibility"]
)
async def test_a_query_that_cannot_be_read_is_told(world, name, query):
    answer = await world.one("GET", f"{name}?{query}")
    if query == "cursor=%ff":  # a cursor is a place, whatever it says
        assert answer.status_code == 200
        assert set(answer.json()) == {"items", "next"}
    else:
        is_told(answer)


# --- files ------------------------------------------------------------------------------------------------------

GOOD = PROGRAMME | {
    "ownerships": "organization,owner,percent\nacme,Sand Bank,40\n",
    "directives": "authority,reference,model,versions,applies_to,from\nexport-office,D-1,mythos-5,5.1,all,now+1d\n",
    "break_glass": "organization,incident,opened_by,approvers,opened,expires\nacme,I-1,a,b;c,now-1h,now+1h\n",
    "stops": "scope,target,incident\nperson,acme/us,I-1\n",
    "switches": "name,from\naffiliates_rule,now+1d\n",
}


def spoiled_files(kind):
    """By what is told of it: a file that is taken, with one thing wrong."""
    good = GOOD[kind]
    header, first, *_ = good.splitlines()
    name = header.partition(",")[0]
    return {
        "the first line does not name the columns": [b"", json.dumps({"rows": [first]}).encode(), f"{first}\n{first}\n".encode()],
        "is no column of this file": [f"{header},colour\n{first},red\n".encode()],
        "this column is there twice": [f"{header},{name}\n{first},{first.partition(',')[0]}\n".encode()],
        "cells": [f"{header}\n{first},x\n".encode(), f"{good}x\n".encode()],
        "UTF-8": [
            good.encode() + b"\xe9\n", good.encode("utf-16-le"), bytes(range(256)) * 4,
            good.encode() + "é".encode()[:1],
        ],
        "control character": [f"{header}\n\x00{first}\n".encode()],
        "quot": [f'{header}\n"{first}\n'.encode()],
        "already": [f"{good}{first}\n".encode()],
    }  # fmt: skip


@pytest.mark.parametrize("kind", imports.KINDS)
async def test_every_kind_of_file_is_refused_as_a_whole_with_places_and_remedies(service, kind):
    async def load(data):
        async with service.gate.registry.change("imported", "test") as change:
            await imports.load(change, kind, data, now=service.now, relative=True)

    await load(GOOD[kind].encode())
    before = left(service)
    for told, files in spoiled_files(kind).items():
        for data in files:
            with pytest.raises(InvalidFile) as error:
                await load(data)
            assert told in str(error.value), (told, data[:80], str(error.value))
            assert all(problem.what and problem.remedy for problem in error.value.problems), told
    assert left(service) == before


def test_every_parser_is_documented_as_what_it_takes():
    """A JSON schema for every field, so that a client knows before it is told."""
    for kind in imports.KINDS.values():
        for name, column in kind.columns.items():
            assert columns.schema(column.parse)["type"] in {"string", "boolean", "integer", "array"}, (kind.name, name)
