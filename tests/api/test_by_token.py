"""Callers by token of an issuer: every route takes them, each by what its claims are mapped to, and nobody else."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from mythos_gate.authn import oidc
from mythos_gate.decision.pdp import Pdp
from mythos_gate.errors import Misconfigured
from mythos_gate.terms import Role
from tests import postgres
from tests.api.test_failures import waited  # noqa: F401  a fixture
from tests.api.test_resources import NEW, Rest
from tests.issuer import AUDIENCE, Issuer
from tests.service import Service, question

pytestmark = pytest.mark.anyio
ANY = {"If-Match": "*"}
FILE = """
[[issuers]]
issuer = "{url}"
audience = "{audience}"
algorithms = ["ES256"]
person = {{ claim = "employee", organization_claim = "employer" }}
{rules}
"""
RULES = {
    "gateway": 'role = "gateway"',
    "confined": 'role = "gateway"\nmodels = ["mythos-5"]\norganizations = ["other"]',
    "elsewhere": 'role = "gateway"\norganizations = ["other", "nowhere"]',
    "compliance": 'role = "compliance"',
    "auditor": 'role = "auditor"',
    "operator": 'role = "operator"',
    "officer": 'role = "officer"\nauthority = "export-office"',
    "stranger": 'role = "officer"\nauthority = "nobody"',
    "admin": 'role = "org_admin"\norganization_claim = "org"',
}
PEOPLE = "organization,external_id,employment\nother,kim,employee\nother,lee,employee\n"


@pytest.fixture
async def issuer():
    async with Issuer().running() as running:
        yield running


@pytest.fixture
def file(issuer, tmp_path):
    rules = "\n".join(f'[[issuers.roles]]\nclaim = "groups"\nvalue = "{name}"\n{rule}' for name, rule in RULES.items())
    path = tmp_path / "issuers.toml"
    path.write_text(FILE.format(url=issuer.url, audience=AUDIENCE, rules=rules))
    return path


@pytest.fixture
async def service(server, programme, tmp_path, file):
    url, keys = programme
    with postgres.scratch(server, postgres.name_of(url)) as own:
        async with Service.running(own, tmp_path, issuers=file) as running:
            running.keys = dict(keys)
            yield running


@pytest.fixture
def holder(service, issuer):
    """Requests with a token of these groups and claims."""

    def made(*groups, **claims):
        return Rest(service, bearer(issuer.token(groups=list(groups), **claims)))

    return made


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def ask(rest, *args, **kwargs):
    return await rest.client.post("/access/v1/evaluation", json=question(*args, **kwargs), headers=rest.headers)


async def test_a_gateway_asks_with_a_token_and_is_named_by_nobodys_name(service, issuer, holder):
    gateway = holder("gateway", sub="the-gateway@acme.example")
    answer = await ask(gateway)
    assert (answer.status_code, answer.json()["decision"]) == (200, True)
    again = holder("gateway", sub="the-gateway@acme.example", jti="another")
    assert (await again("GET", f"decisions/{answer.headers['x-decision-id']}")).status_code == 200
    assert (await holder("gateway")("GET", f"decisions/{answer.headers['x-decision-id']}")).status_code == 404
    entries = await service.entries()
    (decided,) = [each["body"] for each in entries if each["body"]["type"] == "decision"]
    (claimed,) = [each["body"] for each in entries if each["body"]["type"] == "seat_claimed"]
    assert re.fullmatch("tok_[0-9a-f]{32}", decided["caller"]["id"])
    assert (claimed["actor"], decided["caller"]["key"]) == (decided["caller"]["id"], oidc.key_name(issuer.url))
    assert not any("the-gateway" in each["stored"] for each in entries)


ROUTES = {
    "evaluation": ("POST", "/access/v1/evaluation", question()),
    "evaluations": ("POST", "/access/v1/evaluations", {**question(), "evaluations": [{}, {}]}),
    "explain": ("POST", "/v1/explain", question()),
    "search": ("POST", "/access/v1/search/subject", {**question(), "subject": {"type": "person"}}),
    "programme": ("GET", "/v1/programme", None),
    "log": ("GET", "/v1/log/entries", None),
    "keys": ("GET", "/v1/keys", None),
    "people": ("GET", "/v1/people", None),
    "grants": ("GET", "/v1/grants", None),
    "directives": ("POST", "/v1/directives", NEW["directives"] | {"exempt_organizations": []}),
    "stop": ("POST", "/v1/stops", {"scope": "everything"}),
}  # fmt: skip
MAY = {
    "gateway": {"evaluation", "evaluations", "search"},
    "compliance": set(ROUTES) - {"log"},
    "auditor": {"explain", "programme", "log", "grants"},
    "operator": {"programme", "keys"},
    "officer": {"programme", "grants", "directives"},
    "admin": {"people"},
    "nothing": set(),
}


@pytest.mark.parametrize("group", MAY)
async def test_each_role_may_what_a_key_of_it_may(service, holder, group):
    rest = holder(group, org="acme")
    allowed = set()
    for name, (method, path, members) in ROUTES.items():
        answer = await service.client.request(method, path, json=members, headers=rest.headers)
        assert answer.status_code in {200, 201, 403}, (name, answer.text)
        allowed |= {name} if answer.status_code < 300 else set()
    assert MAY[group] == allowed
    gateway = {"X-Gate-Subject": "acme/us", "X-Gate-Model": "mythos-5"}
    answer = await service.client.get("/forward-auth", headers=rest.headers | gateway)
    assert ("X-Decision-ID" in answer.headers) is (group in {"gateway", "compliance"})


@pytest.mark.parametrize("path", [*ROUTES, "forward-auth"])
async def test_a_token_that_is_not_valid_is_401_everywhere_and_says_no_more(service, issuer, path):
    method, url, members = ROUTES.get(path, ("GET", "/forward-auth", None))
    now = int(time.time())
    forger = Issuer(port=issuer.port)
    texts = set()
    for token in (
        issuer.token(groups=["compliance"], aud="https://another.example"),
        issuer.token(groups=["compliance"], iss="https://another.example"),
        issuer.token(groups=["compliance"], iat=now - 400, exp=now - 31),
        issuer.token(groups=["compliance"], nbf=now + 40),
        issuer.token(groups=["compliance"], header={"kid": "another"}),
        issuer.token(groups=["compliance"], header={"typ": "id+jwt"}),
        issuer.token(groups=["stranger"]),
        issuer.token(groups=["elsewhere"]),
        issuer.token(groups=["admin"], org="nowhere"),
        issuer.token(groups=["compliance"], employee="nobody", employer="acme"),
        forger.token(groups=["compliance"]),
    ):
        answer = await service.client.request(method, url, json=members, headers=bearer(token))
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert answer.headers["www-authenticate"] == "Bearer"
        texts.add(orjson.dumps({name: value for name, value in answer.json().items() if name != "instance"}))
    assert len(texts) == 1
    assert b"the token is not valid" in texts.pop()


async def test_a_key_is_still_a_key_and_neither_is_neither(service):
    assert (await service.ask(question())).status_code == 200
    for header in ({}, bearer("nothing"), {"Authorization": "Basic a.b.c"}, bearer("mgk_a_b_c")):
        assert (await service.client.get("/v1/programme", headers=header)).status_code == 401


async def test_without_a_file_of_issuers_no_token_is_taken(server, programme, tmp_path, issuer):
    with postgres.scratch(server, postgres.name_of(programme[0])) as own:
        async with Service.running(own, tmp_path) as plain:
            answer = await plain.client.get("/v1/programme", headers=bearer(issuer.token(groups=["compliance"])))
    assert answer.status_code == 401
    assert issuer.asked == []


async def test_the_service_does_not_start_with_a_file_that_is_wrong(programme, tmp_path, file):
    file.write_text(file.read_text().replace("audience =", "audiense ="))
    with pytest.raises(Misconfigured, match="issuers 1, audience: Field required"):
        async with Service.running(programme[0], tmp_path, issuers=file):
            pass


async def test_the_service_starts_without_its_issuer_and_says_503_until_it_is_there(server, programme, tmp_path, file, issuer):  # fmt: skip
    issuer.lie = lambda _path, _reply: (503, b"")
    with postgres.scratch(server, postgres.name_of(programme[0])) as own:
        async with Service.running(own, tmp_path, issuers=file) as away:
            away.keys = dict(programme[1])
            token = bearer(issuer.token(groups=["compliance"]))
            for method, path, members in (ROUTES["evaluation"], ROUTES["evaluations"], ROUTES["programme"]):
                answer = await away.client.request(method, path, json=members, headers=token)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert (await away.ask(question())).status_code == 200


# --- what is on record ------------------------------------------------------------------------------------------


async def test_an_administrator_of_one_organization_learns_nothing_of_another(service, holder):
    await service.load(people=PEOPLE)
    ours, theirs = holder("admin", org="acme"), holder("admin", org="other", sub="them")
    for rest, known, unknown in ((ours, "acme/us", "other/kim"), (theirs, "other/kim", "acme/us")):
        assert (await rest("GET", f"people/{known}")).status_code == 200
        for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/suspend"), ("POST", "/approve")):
            members = {"email": "a@b.example"} if method == "PATCH" else None
            answer = await rest(method, f"people/{unknown}{path}", members, **(ANY if method == "PATCH" else {}))
            absent = await rest(method, f"people/{unknown}x{path}", members, **(ANY if method == "PATCH" else {}))
            assert (answer.status_code, answer.json()["detail"]) == (absent.status_code, absent.json()["detail"])
            assert answer.status_code in {403, 404}
        listed = {item["organization"] for item in (await rest("GET", "people")).json()["items"]}
        assert listed == {known.partition("/")[0]}


async def test_a_confined_gateway_learns_nothing_of_others(service, holder):
    confined = holder("confined")
    said = (await ask(confined, "acme/us")).json()
    assert said == (await ask(confined, "acme/nobody")).json() | {"context": said["context"]}
    assert said["decision"] is False
    assert (await ask(holder("gateway"), "acme/us")).json()["decision"] is True
    (*_, entry) = [each["body"] for each in await service.entries() if each["body"]["type"] == "decision"][:1]
    assert entry["facts"]["subject"] == "unknown"


async def test_what_was_not_on_record_is_known_as_soon_as_it_is(service, holder):
    rest = holder("gateway", employee="new", employer="acme")
    assert (await ask(rest)).status_code == 401
    await service.load(people="organization,external_id,employment\nacme,new,employee\n")
    assert (await ask(rest)).status_code == 200


@pytest.mark.parametrize("step", ["suspend", "lock", "leave"])
async def test_of_whoever_has_left_or_is_stopped_no_token_opens_anything(service, holder, step):
    await service.load(people=PEOPLE)
    rest = holder("compliance", employee="kim", employer="other")
    for _ in range(2):  # the second one from memory
        assert (await ask(rest)).status_code == 200
    if step == "suspend":
        assert (await service.post("/v1/people/other/kim/suspend")).status_code == 200
    elif step == "lock":
        await service.load(stops="scope,target,incident\nperson,other/kim,I-1\n")
    else:
        await service.load(people=PEOPLE.replace("kim,employee", "kim,ended"))
    assert (await ask(rest)).status_code == 401
    assert (await rest("GET", "programme")).status_code == 401
    assert (await ask(holder("compliance", employee="lee", employer="other"))).status_code == 200


async def test_a_terminated_organization_has_no_administrator(service, holder):
    rest = holder("admin", org="acme")
    assert (await rest("GET", "people")).status_code == 200
    assert (await service.post("/v1/organizations/acme/revoke")).status_code == 200
    assert (await rest("GET", "people")).status_code == 401


async def test_an_entry_waits_no_longer_than_its_callers_token_is_good(service, issuer, waited):  # noqa: F811
    assert (await service.ask(question())).status_code == 200  # the seat is held
    expires = int(time.time()) - 27
    waited.clear()
    rest = Rest(service, bearer(issuer.token(groups=["gateway"], iat=expires - 60, exp=expires)))
    assert (await ask(rest)).status_code == 200
    assert waited == [datetime.fromtimestamp(expires, UTC) + timedelta(seconds=30)]


async def test_a_token_that_ends_while_its_decision_is_made_is_401(service, issuer, monkeypatch):
    assert (await service.ask(question())).status_code == 200
    expires = int(time.time()) - 27
    token = bearer(issuer.token(groups=["gateway"], iat=expires - 60, exp=expires))
    real = Pdp._prepared

    def late(self, *arguments):
        time.sleep(max(0, expires + 30.1 - time.time()))
        return real(self, *arguments)

    monkeypatch.setattr(Pdp, "_prepared", late)
    assert (await service.client.post("/access/v1/evaluation", json=question(), headers=token)).status_code == 401


async def test_a_token_that_is_presented_again_is_looked_at_again(service, issuer, holder):
    """A bearer's may be, until it ends (RFC 6750 5.3); what it was taken for before does not count then."""
    expires = int(time.time()) - 28
    rest = Rest(service, bearer(issuer.token(groups=["compliance"], iat=expires - 60, exp=expires)))
    for _ in range(2):
        assert (await ask(rest)).status_code == 200
        assert (await rest("GET", "programme")).status_code == 200
    await asyncio.sleep(expires + 30.1 - time.time())
    assert (await ask(rest)).status_code == 401
    assert (await rest("GET", "programme")).status_code == 401
    # Nor does it open what another's of the same holder opens meanwhile.
    assert (await ask(holder("compliance"))).status_code == 200


async def test_a_token_takes_as_many_reads_as_a_key(service, holder):
    """From the second request on, none: what is on record for it is kept."""
    rest = holder("gateway")
    assert (await ask(rest)).status_code == 200
    reads = []
    real = service.gate.pdp._pip.read

    async def read(*arguments):
        reads.append(arguments)
        return await real(*arguments)

    service.gate.pdp._pip.read = read
    assert (await ask(holder("gateway", jti="another"))).status_code == 200
    assert reads == []
    (keys,) = [each.keys for each in service.gate.pdp._pip._caches["key"]._records.values() if each.stored.hash == ""]
    assert not any("{" in each for each in keys)


# --- two people -------------------------------------------------------------------------------------------------


@pytest.fixture
async def kim(service, holder):
    await service.load(people=PEOPLE)
    return holder("compliance", sub="kim@id", employee="kim", employer="other")


@pytest.fixture
async def lee(holder):
    return holder("compliance", sub="lee@id", employee="lee", employer="other")


async def proposed(rest):
    answer = await rest("PATCH", "organizations/acme", {"name": f"Acme {uuid4()}"}, **ANY)
    assert answer.status_code == 202, answer.text
    return f"change-requests/{answer.json()['id']}"


async def test_two_people_on_record_confirm_each_others_change_requests(service, kim, lee):
    path = await proposed(kim)
    assert (await kim.approve(path)).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    confirmed = await lee.approve(path)
    assert confirmed.status_code == 200, confirmed.text
    (changed,) = [each["body"] for each in await service.entries() if each["body"]["type"] == "organization_changed"]
    assert {changed["actor"][:4], changed["requested_by"][:4]} == {"tok_"}
    assert changed["actor"] != changed["requested_by"]
    path = await proposed(lee)
    assert (await lee("POST", f"{path}/withdraw")).status_code == 200


async def test_who_is_not_on_record_speaks_for_nobody(service, holder, kim):
    nobody = holder("compliance", sub="kim@id")
    refused = await nobody("PATCH", "organizations/acme", {"name": "x"}, **ANY)
    assert refused.status_code == 403
    assert "token that names no person on record" in refused.json()["detail"]
    path = await proposed(kim)
    assert (await nobody.approve(path)).json()["code"] == "APPROVER_NOT_QUALIFIED"
    assert (await nobody("POST", "people/acme/us/approve")).status_code == 403
    opened = {"organization": "acme", "incident": "I-1", "hours": 1}
    assert (await nobody("POST", "break-glass", opened)).status_code == 403
    # What takes access away needs one, and waits for nobody.
    assert (await nobody("POST", "stops", {"scope": "everything"})).status_code == 201


@pytest.mark.parametrize("group", ["compliance", "admin"])
async def test_who_suspends_by_token_withdraws_what_was_requested_before(service, holder, kim, group):
    """By whoever has no row of their own yet, a service among them."""
    rest = holder(group, org="acme", sub="nobody-yet")
    assert (await kim("POST", "people/acme/us/suspend")).status_code == 200
    asked = await kim("POST", "people/acme/us/activate")
    assert asked.status_code == 202
    assert (await rest("POST", "people/acme/us/suspend")).status_code == 200
    found = (await kim("GET", f"change-requests/{asked.json()['id']}")).json()
    assert (found["state"], found["decided_by"][:4]) == ("withdrawn", "tok_")
    assert service.sql("SELECT roles FROM callers WHERE id = %s", found["decided_by"]) == [
        (["org_admin"] if group == "admin" else ["compliance"],)
    ]


async def test_who_stops_by_token_withdraws_what_was_requested_before(service, holder, kim):
    stop = await kim("POST", "stops", {"scope": "everything"})
    asked = await kim("POST", f"stops/{stop.json()['id']}/lift")
    assert asked.status_code == 202
    again = await holder("compliance", sub="nobody-yet")("POST", "stops", {"scope": "everything"})
    assert again.status_code == 201
    assert (await kim("GET", f"change-requests/{asked.json()['id']}")).json()["state"] == "withdrawn"


async def test_the_same_person_by_token_and_by_key_is_one(service, kim):
    same = Rest(service, await service.key(Role.COMPLIANCE, person="other/kim"))
    for one, other in ((kim, same), (same, kim)):
        path = await proposed(one)
        assert (await other.approve(path)).json()["code"] == "POLICY_CHANGE_APPROVAL_INCOMPLETE"


async def test_a_holder_who_says_to_be_somebody_else_is_the_same(service, holder, kim):
    path = await proposed(kim)
    renamed = holder("compliance", sub="kim@id", employee="lee", employer="other")
    assert (await renamed.approve(path)).json()["code"] == "SELF_APPROVAL_FORBIDDEN"


async def test_a_token_and_a_key_of_nobody_on_record_may_be_one_person(service, kim):
    key = Rest(service, await service.key(Role.COMPLIANCE, person=None))
    assert (await key.approve(await proposed(kim))).json()["code"] == "APPROVER_NOT_QUALIFIED"
    refused = await key("PATCH", "organizations/acme", {"name": "x"}, **ANY)
    assert (refused.status_code, refused.json()["code"]) == (403, "APPROVER_NOT_QUALIFIED")
    told = Rest(service, await service.key(Role.COMPLIANCE, person="other/lee"))
    for one, other in ((kim, told), (told, kim)):
        path = await proposed(one)
        assert (await other.approve(path)).status_code == 200


async def test_a_proposal_of_whoever_has_left_since_is_made_anew(service, kim, lee):
    path = await proposed(kim)
    assert (await service.post("/v1/people/other/kim/suspend")).status_code == 200
    assert (await lee.approve(path)).status_code == 409


async def test_an_administrator_on_record_approves_under_that_name(service, holder):
    await service.load(people="organization,external_id,employment\nacme,new,employee\n")
    admin = holder("admin", org="acme", employee="ca", employer="acme")
    assert (await admin("POST", "people/acme/new/approve")).status_code == 200
    assert service.sql(
        "SELECT approver FROM approvals a JOIN people p ON p.id = person_id WHERE external_id = 'new'"
    ) == [("ca",)]
    assert (await holder("admin", org="acme")("POST", "people/acme/new/approve")).status_code == 403


# --- who acts for whom (RFC 8693 4.1) -----------------------------------------------------------------------------

ACTING = {"employee": "us", "employer": "acme", "act": {"sub": "bot"}}
ACTORS: list[tuple[str, dict[str, Any], bool]] = [
    ("its sponsor's agent", {}, True),
    ("the issuer says whose the actor is", {"act": {"sub": "bot", "iss": "{url}"}}, True),
    ("another's agent", {"employee": "ca"}, False),
    ("one of that name elsewhere", {"employer": "other"}, False),
    ("another agent", {"act": {"sub": "else"}}, False),
    ("an agent of an agent", {"act": {"sub": "bot", "act": {"sub": "first"}}}, False),
    ("an actor of another issuer", {"act": {"sub": "bot", "iss": "https://else.example"}}, False),
    ("nobody acts", {"act": None}, False),
    ("an actor that is none", {"act": "bot"}, False),
    ("an actor without a name", {"act": {}}, False),
    ("nobody it began with", {"employee": None}, False),
    ("another audience", {"aud": "https://else.example"}, False),
    ("too old", {"iat": 1_000_000, "exp": 1_000_300}, False),
    ("not yet", {"nbf": 2**34}, False),
]  # fmt: skip


@pytest.mark.parametrize(("claims", "allowed"), [each[1:] for each in ACTORS], ids=[each[0] for each in ACTORS])
async def test_an_agent_acts_for_its_sponsor_as_its_token_says(service, issuer, claims, allowed):
    told = orjson.loads(orjson.dumps(ACTING | claims).replace(b"{url}", issuer.url.encode()))
    sent = question("acme/bot", kind="agent", actor_token=issuer.token(**told))
    answer = await service.ask(sent)
    assert (answer.status_code, answer.json()["decision"]) == (200, allowed), answer.text
    facts = answer.json()["context"]["reason_admin"]["facts"]
    assert facts["agent"] == ("registered" if allowed else "depth_exceeded")
    explained = await service.post("/v1/explain", json=sent)
    assert explained.json()["decision"] is allowed
    items = {**sent, "evaluations": [{}, {"context": sent["context"] | {"actor_token": None}}]}
    several = await service.post("/access/v1/evaluations", json=items)
    assert [each["decision"] for each in several.json()["evaluations"]] == [allowed, True]


async def test_a_token_that_nobody_signed_is_no_agents(service, issuer):
    good = issuer.token(**ACTING)
    head, body, signature = good.split(".")
    forged = [
        good[:-4] + "AAAA",
        f"{head}.{body}.",
        "mgk_1",
        "",
        f"{head}.{body}",
        issuer.token(iss="https://else.example"),
    ]
    for token in forged:
        answer = await service.ask(question("acme/bot", kind="agent", actor_token=token))
        assert (answer.status_code, answer.json()["decision"]) == (200, False), (token, signature)
    headers = {"X-Gate-Subject": "acme/bot", "X-Gate-Subject-Type": "agent", "X-Gate-Model": "mythos-5"}
    told = headers | {
        "X-Gate-Version": "5.1.0",
        "X-Gate-Capability": "vuln-discovery",
        "X-Gate-Mfa": "phishing_resistant",
    }
    told |= {"X-Gate-Country": "US", "X-Gate-Endpoint": "ep-1", "X-Gate-Purpose": "defensive-own-systems"}
    for token, status in ((good, 200), (forged[0], 403)):
        sent = told | {"X-Gate-Actor-Token": token} | service.authorization(Role.GATEWAY)
        assert (await service.client.get("/forward-auth", headers=sent)).status_code == status


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/access/v1/evaluation", {"subject": {"type": "person", "id": "acme/us"}}),
        ("/access/v1/search/resource", {}),
    ],
)
async def test_a_token_where_no_agent_acts_is_refused(service, issuer, path, changes):
    sent = question("acme/bot", kind="agent", actor_token=issuer.token(**ACTING)) | changes
    answer = await service.post(path, json=sent)
    assert answer.status_code == 400
    assert "actor_token" in answer.json()["detail"]


async def test_whoever_acts_for_another_has_not_the_others_word(service, holder):
    assert (await holder("compliance")("GET", "keys")).status_code == 200
    assert (await holder("compliance", act={"sub": "bot"})("GET", "keys")).status_code == 401
