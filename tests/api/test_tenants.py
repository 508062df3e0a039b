"""An organization's administrator: strictly apart from other organizations, in the routes and again in the database."""

import re
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace

import asyncpg
import pytest
from sqlalchemy import event, text

from mythos_gate.api import deps
from mythos_gate.terms import Role
from tests.api.test_every_route import ANY, CSV, READS, routes, world  # noqa: F401  a fixture
from tests.api.test_resources import CHANGES, NEW, Rest
from tests.service import question
from tests.test_conventions import DECIDING

pytestmark = pytest.mark.anyio
STAFF = ("people", "agents", "endpoints")
# Of the other organization, with marks: whatever is found of them is a leak.
OTHER = {
    "people": "organization,external_id,employment,name,email,work_country\n"
    "other,zeb,employee,Zebulon Marksson,zebulon@other.example,US\nother,ca,employee,Mark Zebulon,mark@other.example,DE\n",
    "agents": "organization,external_id,sponsor,status,scopes,expires,runtime_country,depth,name\n"
    "other,zeb,ca,active,vuln-discovery,now+1d,US,1,Zebulon's bot\n",
    "endpoints": "organization,external_id,status,attested,name\nother,zeb,active,yes,Zebulon's laptop\n",
    "grants": "authority,reference,organization,model,status,not_before,versions,capabilities,purposes\n"
    "orrery,V-7,other,mythos-5,active,now-1d,5.1,vuln-discovery,defensive-own-systems\n",
}  # fmt: skip
MARKS = ("ebulon", "other.example", "Marksson")


@dataclass(frozen=True)
class Named:
    """What a request may name: an organization, a name in it, and the gate's ids by noun."""

    organization: str
    name: str
    ids: dict[str, str]

    def nobody(self, **known):
        """As long, and on record nowhere."""
        changed = {noun: each[:-3] + ("abc" if each[-3:] != "abc" else "cba") for noun, each in self.ids.items()}
        return replace(self, ids=changed, **known)


@pytest.fixture
async def other(world):  # noqa: F811
    """The names of the organization of which nothing may be learnt."""
    service = world.service
    await service.load(**OTHER)
    await world.one("PATCH", "organizations/other", {"name": "Other Inc"}, **ANY)
    await world.made(world.one, "POST", "stops", {"scope": "organization", "target": "other", "incident": "I-7"})
    glass = {"organization": "other", "incident": "I-8", "hours": 1}
    third = Rest(service, await service.key(Role.COMPLIANCE))
    await world.one.opened(glass, world.two, third)
    await world.made(world.one, "POST", "legal-holds", {"scope": "organization", "target": "other", "matter": "M-1"})
    await service.key(Role.ORG_ADMIN, organization="other")
    invited = {"organization": "other", "external_id": "ada", "employment": "employee", "name": "Ada Zebulon"}
    await world.made(world.one, "POST", "invitations", invited)
    assert (await service.ask(question("other/zeb"))).status_code == 200
    own = "organization_id = (SELECT id FROM organizations WHERE slug = 'other')"
    found = {
        **{noun: f"SELECT id FROM {noun} WHERE {own} AND external_id = 'zeb'" for noun in STAFF},
        **{
            noun: f"SELECT id FROM {noun} WHERE {own}"
            for noun in ("grants", "stops", "break_glasses", "legal_holds", "invitations")
        },
        "organizations": "SELECT id FROM organizations WHERE slug = 'other'",
        "change_requests": "SELECT id FROM change_requests",
        "keys": f"SELECT k.id FROM api_keys k JOIN callers c ON c.id = k.caller_id WHERE {own}",
        "decisions": "SELECT id::text FROM log_entries WHERE type = 'decision'",
    }
    return Named("other", "zeb", {noun: service.sql(query)[0][0] for noun, query in found.items()})


# What a parameter of a path names.
PARAMETERS = {
    "person": "people", "agent": "agents", "endpoint": "endpoints", "organization": "organizations", "grant": "grants",
    "stop": "stops", "key": "keys", "decision": "decisions", "entry": "decisions",
    "hold": "legal_holds", "invitation": "invitations", "index": "decisions", "authority": "organizations",
}  # fmt: skip
NOUNS = {
    "break-glass": "break_glasses",
    "legal-holds": "legal_holds",
    "change-requests": "change_requests",
    "policies": "organizations",
    "rollouts": "organizations",
    "data-sets": "organizations",
    "simulations": "organizations",
    "policy-cases": "organizations",
}


def paths(route, named):
    """By name and by the gate's id."""
    noun = route.split("/")[2] if route.startswith("/v1/") else ""

    def identifiers(match):
        found = PARAMETERS.get(match[1]) or NOUNS.get(noun, noun)
        return found, named.ids.get(found, named.ids["organizations"])

    by_id = re.sub(r"{(\w+)}", lambda match: identifiers(match)[1], route)
    by_name = re.sub(
        r"{(\w+)}",
        lambda match: (
            f"{named.organization}/{named.name}"
            if (found := identifiers(match))[0] in STAFF
            else named.organization
            if found[0] == "organizations"
            else found[1]
        ),
        route,
    )
    return sorted({by_id, by_name})


def bodies(method, route, named):
    """What names the organization, a name of it, or a name of it as one of the own."""
    noun = route.split("/")[2] if route.startswith("/v1/") else ""
    if route in DECIDING:
        return [question(f"{named.organization}/{named.name}", endpoint=f"{named.organization}/{named.name}")]
    if route.endswith("/import"):
        lines = [f"{named.organization},{named.name}", f",{named.name}"]
        more = {"people": "employment", "agents": "sponsor", "endpoints": "name"}[noun]
        value = {"people": "employee", "agents": named.name, "endpoints": "x"}[noun]
        return [f"organization,external_id,{more}\n{line},{value}\n" for line in lines]
    if method == "POST" and noun == "invitations":
        return [
            {"external_id": named.name, "employment": "employee", **home} if route.count("/") == 2 else None
            for home in ({}, {"organization": named.organization})
        ]
    if method == "POST" and noun in STAFF and route.count("/") == 2:
        sponsor = {"sponsor": named.name} if noun == "agents" else {}
        return [
            NEW[noun] | {"organization": named.organization, "external_id": named.name} | sponsor,
            NEW[noun] | {"external_id": named.name} | sponsor,
        ]
    if method == "PATCH" and noun == "agents":
        return [CHANGES[noun], {"sponsor": named.name}]
    if route.endswith("/review") and noun == "people":
        return [{"due": "2030-01-01T00:00:00Z"}]
    return [
        NEW.get(noun, {})
        if method == "POST" and route.count("/") == 2
        else CHANGES.get(noun)
        if method == "PATCH"
        else None
    ]


def queries(route, named):
    """What a list may be asked for."""
    asked = {
        "/v1/people": ["organization={o}", "cursor={people}"],
        "/v1/agents": ["organization={o}", "sponsor={n}", "cursor={agents}"],
        "/v1/endpoints": ["organization={o}", "cursor={endpoints}"],
        "/v1/invitations": ["cursor={invitations}"],
        "/v1/eligibility": ["organization={o}", "cursor={people}"],
        **{f"/v1/{noun}/export": ["organization={o}"] for noun in STAFF},
    }.get(route, [])
    return ["", *(f"?{each.format(o=named.organization, n=named.name, **named.ids)}" for each in asked)]


def requests(method, route, named):
    for path in paths(route, named):
        for query in queries(route, named) if method == "GET" else [""]:
            for members in bodies(method, route, named) if method != "GET" else [None]:
                yield path + query, members


async def send(world, method, path, members, **headers):  # noqa: F811
    kind = {"Content-Type": "text/csv" if isinstance(members, str) else "application/json"}
    content = {"content": members} if isinstance(members, str) else {"json": members}
    sent = world.admin.headers | kind | (ANY if method in {"PUT", "PATCH"} else {}) | headers
    return await world.admin.client.request(method, path, headers=sent, **content)


# --- nothing is learnt ------------------------------------------------------------------------------------------


@pytest.fixture
def statements(service, monkeypatch):
    """How many were sent to the database, by any connection of the service."""
    counted: Counter[str] = Counter()

    def count(_connection, _cursor, statement, *_):
        counted[statement] += 1

    for engine in (service.gate.registry.engine, service.gate.reader, service.gate.claims.engine):
        event.listen(engine.sync_engine, "before_cursor_execute", count)

    def logged(_self, query, *_):
        counted[query] += 1
        return nullcontext()

    monkeypatch.setattr(asyncpg.Connection, "_time_and_log", logged)
    return counted


def told(answer, named):
    """All of an answer, but what it repeats of the request, and what is made anew for each."""
    made = re.sub(
        r'urn:uuid:[0-9a-f-]{36}|"[0-9a-f]{32}"|(per|agt|ept|agt)_[0-9a-f]{32}|inv_[0-9a-f]{16}|mgi_[0-9a-f_]+'
        r'|"20[^"]+Z"',
        "made",
        answer.text + str(sorted(answer.headers.multi_items())),
    )
    for each in (*named.ids.values(), f"{named.organization}/{named.name}", named.name, named.organization):
        made = made.replace(each, "asked")
    return answer.status_code, made


async def test_what_another_has_and_what_nobody_has_are_answered_alike(world, other, statements):  # noqa: F811
    unknown = (
        other.nobody(organization="othxr", name="zxb"),
        other.nobody(organization="other", name="zyb"),
        other.nobody(organization="othxr", name="zcb"),
    )
    compared = 0
    for method, route in sorted(routes()):
        seen = []
        for named in (other, *unknown):
            answers = []
            for path, members in requests(method, route, named):
                # Of one kind the first refusal is recorded, those that follow are counted: each is to be a first one.
                await world.service.gate.refusals.flush(world.service.gate.log)
                statements.clear()
                answer = await send(world, method, path, members)
                answers.append((*told(answer, named), statements.total()))
                compared += 1
                assert answer.status_code < 500, (method, path, answer.text)
            seen.append(answers)
        for answers in seen[1:]:
            assert answers == seen[0], (method, route)
    assert compared > 400


# --- and again in the database ----------------------------------------------------------------------------------


def rows(service):
    """All that is on record of the other organization."""
    return {
        table: service.sql(
            f"SELECT to_jsonb(t) FROM {table} t, organizations o WHERE o.slug = 'other'"
            " AND (to_jsonb(t) ->> 'organization_id' = o.id"
            " OR to_jsonb(t) ->> 'person_id' IN (SELECT id FROM people WHERE organization_id = o.id)) ORDER BY 1"
        )
        for table in (*STAFF, "approvals", "seats", "person_screenings")
    }


@pytest.fixture
async def unchecked(world, other, monkeypatch):  # noqa: F811
    """An administrator of acme whom no route knows to be confined: the database alone does."""
    real, confine, known = deps.authenticate, deps.Gate.confine, {}

    async def authenticate(gate, presented):
        found = known[presented.id] = await real(gate, presented)
        return replace(found, organization=None, organization_id=None)

    monkeypatch.setattr(deps, "authenticate", authenticate)
    monkeypatch.setattr(deps.Gate, "confine", lambda gate, caller: confine(gate, known[caller.key_id]))
    return world


async def test_the_database_refuses_what_no_route_checks(unchecked, other):
    before = rows(unchecked.service)
    assert len(before["people"]) == 2
    permitted = unchecked.service.gate.permissions.of([Role.ORG_ADMIN])
    own = sorted(route for route, permission in routes().items() if permission in permitted)
    assert {path for method, path in own if method == "GET"} == READS.keys()
    tried = 0
    for method, route in own:
        for number, (path, members) in enumerate(requests(method, route, other)):
            if members in (*CSV.values(), None) or "other" in str(members) or "{" in route:
                again = {"Idempotency-Key": f"{method}-{tried}"} if number % 2 else {}
                answer = await send(unchecked, method, path, members, **again)
                assert [mark for mark in MARKS if mark in answer.text] == [], (method, path, answer.text)
                assert method == "GET" or answer.status_code >= 400, (method, path, answer.text)
                tried += 1
    assert tried > 40
    assert rows(unchecked.service) == before


async def test_a_transaction_that_names_no_organization_sees_nobody(world, other):  # noqa: F811
    service = world.service
    [(everybody,)] = service.sql("SELECT count(*) FROM people")
    assert everybody > 2
    for pool in (service.gate.registry.engine, service.gate.reader):
        for organization, expected in (("", 0), ("nowhere", 0), (other.ids["organizations"], 2)):
            async with pool.execution_options(organization=organization).connect() as connection:
                found = await connection.execute(text("SELECT count(*) FROM people"))
                assert found.scalar_one() == expected
        # And it ends with the transaction: the next one of this pool is anybody's.
        async with pool.connect() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM people"))).scalar_one() == everybody
