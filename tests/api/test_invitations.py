"""Invitations: an administrator asks somebody in, who comes by their own word and has no access by that alone."""

import pytest

from mythos_gate import app
from mythos_gate.authn import api_keys
from mythos_gate.authn.lockout import MOST
from mythos_gate.registry import callers, invitations
from mythos_gate.terms import Role
from tests import postgres
from tests.api.test_personal_data import named
from tests.api.test_resources import Rest
from tests.issuer import AUDIENCE, Issuer
from tests.service import Service, question

pytestmark = pytest.mark.anyio
NEW = {"external_id": "e-7", "employment": "employee", "name": "Kim Zebulon", "work_country": "DE"}
AGREED = {"acceptable_use": True, "technology_control_plan": True}


@pytest.fixture
async def admin(service):
    return Rest(service, await service.key(Role.ORG_ADMIN, organization="acme", person="acme/us"))


async def invited(rest, **members):
    answer = await rest("POST", "invitations", NEW | members)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def accept(service, token, members=AGREED, **headers):
    return await service.client.post("/v1/invitations/accept", json={"token": token, **members}, headers=headers)


def people(service):
    return service.sql("SELECT count(*) FROM people")


async def test_somebody_is_invited_accepts_and_is_on_record_as_if_enrolled(service, admin):
    before = people(service)
    answer = await admin("POST", "invitations", NEW)
    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/invitations/{made['id']}")
    assert people(service) == before
    read = (await admin("GET", f"invitations/{made['id']}")).json()
    assert read == {name: value for name, value in made.items() if name != "token"}
    assert (read["organization"], read["members"], read["requested_by"]) == ("acme", NEW, "us")
    assert (read["state"], read["person"]) == ("open", None)
    done = await accept(service, made["token"])
    assert (done.status_code, done.json()["external_id"]) == (201, "e-7"), done.text
    person = (await admin("GET", "people/acme/e-7")).json()
    assert person.items() >= (NEW | AGREED).items()
    assert (person["id"], person["requested_by"], person["approvals"]) == (done.json()["id"], "us", [])
    assert person["obligations_evidence"] == made["id"]
    over = (await admin("GET", f"invitations/{made['id']}")).json()
    assert (over["state"], over["person"]) == ("accepted", person["id"])
    assert (over["members"], over["requested_by"]) == (None, None)
    assert (await admin("GET", "invitations")).json() == {"items": [over], "next": None}


@pytest.mark.verified
async def test_the_log_tells_each_step_and_nobodys_name(service, admin):
    made, other = await invited(admin), await invited(admin, external_id="zebulon-8")
    person = (await accept(service, made["token"])).json()["id"]
    await admin("POST", f"invitations/{other['id']}/withdraw")
    entries = [each for each in await service.entries() if "invit" in each["body"]["type"]]
    told = [(each["body"]["type"], each["body"]["invitation"]) for each in entries]
    assert told == [
        ("person_invited", made["id"]), ("person_invited", other["id"]),
        ("invitation_accepted", made["id"]), ("invitation_withdrawn", other["id"]),
    ]  # fmt: skip
    assert (entries[2]["body"]["actor"], entries[2]["body"]["person"]) == (made["id"], person)
    assert set(entries[2]["body"]["members"]) == {*NEW, *AGREED, "obligations_evidence"}
    assert named(service, await service.entries()) == []
    assert [each["stored"] for each in entries if "ebulon" in each["stored"]] == []


async def test_whoever_accepts_still_needs_all_that_others_need(service, admin):
    made = await invited(admin, training_expires="2030-01-01", obligations_evidence="LMS-17")
    assert (await accept(service, made["token"])).status_code == 201
    answered = (await service.ask(question("acme/e-7"))).json()
    assert answered["decision"] is False
    facts = answered["context"]["reason_admin"]["facts"]
    assert (facts["agreements"], facts["training"], facts["approval"]) == ("signed", "current", "incomplete")
    assert (facts["review"], facts["screening"], facts["presence"]) == ("overdue", "incomplete", "unverified")
    assert (await admin("GET", "people/acme/e-7")).json()["obligations_evidence"] == "LMS-17"
    # Whoever invited has asked for the access.
    refused = await admin("POST", "people/acme/e-7/approve")
    assert (refused.status_code, refused.json()["code"]) == (409, "SELF_APPROVAL_FORBIDDEN")


@pytest.mark.parametrize("members", [{}, {"acceptable_use": True}, AGREED | {"technology_control_plan": False}])
async def test_nobody_is_in_without_both_agreements(service, admin, members):
    made = await invited(admin)
    assert (await accept(service, made["token"], members)).status_code == 400
    assert (await accept(service, made["token"])).status_code == 201


async def test_an_invitation_is_accepted_once(service, admin):
    made, again = await invited(admin), await invited(admin)
    assert (await accept(service, made["token"])).status_code == 201
    n = service.sql("SELECT n FROM revision")
    second = await accept(service, made["token"])
    assert (second.status_code, "was accepted" in second.text or "is accepted" in second.text) == (409, True)
    assert (await accept(service, again["token"])).status_code == 409
    assert service.sql("SELECT n FROM revision") == n


async def test_a_request_that_is_repeated_is_answered_again(service, admin):
    key = {"Idempotency-Key": "invite-1"}
    one, two = [(await admin("POST", "invitations", NEW, **key)).json() for _ in range(2)]
    assert one == two
    first, second = [await accept(service, one["token"], **key) for _ in range(2)]
    assert (first.status_code, second.status_code, first.json()) == (201, 201, second.json())
    assert service.sql("SELECT count(*) FROM invitations") == [(1,)]


async def test_what_is_withdrawn_or_over_or_wrong_is_nobodys(service, admin):
    withdrawn, over, right = [await invited(admin, external_id=f"e-{number}") for number in range(3)]
    done = await admin("POST", f"invitations/{withdrawn['id']}/withdraw")
    assert (done.status_code, done.json()["state"], done.json()["members"]) == (200, "withdrawn", None)
    assert (await admin("POST", f"invitations/{withdrawn['id']}/withdraw")).status_code == 409
    service.sql("UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = %s", over["id"])
    assert (await admin("GET", f"invitations/{over['id']}")).json()["state"] == "expired"
    assert (await admin("POST", f"invitations/{over['id']}/withdraw")).status_code == 409
    identifier = right["token"].split("_")[1]
    wrong = [
        withdrawn["token"], over["token"], "", right["token"][:-1], right["token"] + "0",
        api_keys._text(identifier, "a" * 64, invitations.PREFIX), api_keys._text("f" * 16, "a" * 64, invitations.PREFIX),
        service.keys[Role.COMPLIANCE],
    ]  # fmt: skip
    before = people(service)
    answers = [await accept(service, token) for token in wrong]
    assert [answer.status_code for answer in answers] == [401] * len(wrong)
    assert len({answer.json()["detail"] for answer in answers}) == 2  # malformed, or not valid
    assert people(service) == before
    assert (await accept(service, right["token"])).status_code == 201


async def test_of_whom_nobody_waits_for_any_more_nothing_is_kept(service, admin):
    made, open_ = await invited(admin), await invited(admin, external_id="e-8")
    service.sql("UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = %s", made["id"])
    async with service.gate.registry.engine.begin() as connection:
        await invitations.forget(connection)
    assert (await admin("GET", f"invitations/{made['id']}")).json()["members"] is None
    assert (await admin("GET", f"invitations/{open_['id']}")).json()["members"] is not None
    assert app.PRUNE_EVERY <= 600


async def test_only_the_hash_of_a_token_is_kept_and_it_is_shown_once(service, admin):
    made = await invited(admin)
    secret = made["token"].split("_")[2]
    assert len(secret) == 64
    stored = service.sql("SELECT to_jsonb(i)::text, hash FROM invitations i")
    assert secret not in stored[0][0]
    assert bytes(stored[0][1]) == api_keys._hash(secret)
    assert "token" not in (await admin("GET", "invitations")).text


async def test_wrong_tokens_are_put_off_and_the_right_one_is_not(service, admin):
    made = await invited(admin)
    wrong = api_keys._text(made["token"].split("_")[1], "a" * 64, invitations.PREFIX)
    answers = [await accept(service, wrong) for _ in range(MOST + 2)]
    assert [answer.status_code for answer in answers] == [401] * MOST + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0
    assert (await accept(service, made["token"])).status_code == 201


@pytest.mark.parametrize(
    ("members", "status", "told"),
    [
        ({"external_id": "us"}, 409, "this name is on record"),
        ({"employment": "boss"}, 400, "is not one of the values"),
        ({"external_id": "a/b"}, 400, "cannot be used as a name here"),
        ({"us_person": "yes"}, 400, "is not set here"),
        ({"approvals": "a;b"}, 400, "is not set here"),
        ({"requested_by": "x"}, 400, "is not set here"),
        ({"acceptable_use": True}, 400, "is given by the person"),
        ({"technology_control_plan": False}, 400, "is given by the person"),
        ({"training_expires": "2030-01-01"}, 400, "must say where training and signatures are on file"),
        ({"organization": "other"}, 403, "this key may not assert it"),
        ({"organization": "nowhere"}, 403, "this key may not assert it"),
    ],
)
async def test_whom_nobody_may_enrol_so_nobody_may_invite_so(service, admin, members, status, told):
    n = service.sql("SELECT n FROM revision")
    answer = await admin("POST", "invitations", NEW | members)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text
    assert service.sql("SELECT (SELECT count(*) FROM invitations), n FROM revision") == [(0, *n[0])]


async def test_another_organization_has_no_part_in_it(service, admin):
    made = await invited(admin)
    other = Rest(service, await service.key(Role.ORG_ADMIN, organization="other"))
    assert (await other("GET", "invitations")).json()["items"] == []
    assert (await other("GET", f"invitations/{made['id']}")).status_code == 404
    assert (await other("POST", f"invitations/{made['id']}/withdraw")).status_code == 404
    assert (await accept(service, made["token"])).status_code == 201
    home = "SELECT o.slug FROM people p JOIN organizations o ON o.id = organization_id WHERE p.external_id = 'e-7'"
    assert service.sql(home) == [("acme",)]


async def test_of_an_organization_that_is_terminated_nobody_accepts(service, admin):
    made = await invited(admin)
    officer = Rest(service, await service.key(Role.COMPLIANCE))
    assert (await officer("POST", "organizations/acme/revoke")).status_code == 200
    assert (await accept(service, made["token"])).status_code == 401


async def test_compliance_invites_for_an_organization_and_whoever_accepts_agrees_for_themselves(service):
    officer = Rest(service, await service.key(Role.COMPLIANCE))
    assert (await officer("POST", "invitations", NEW)).status_code == 400
    made = await invited(officer, organization="acme")
    assert (await accept(service, made["token"])).status_code == 201
    person = (await officer("GET", "people/acme/e-7")).json()
    assert (person["requested_by"], person["acceptable_use"]) == (made["requested_by"], True)
    assert made["requested_by"].startswith("per_")


async def test_a_service_that_invites_is_nobody_who_asked(service):
    async with service.gate.registry.change("key_created", "test") as change:
        scope = callers.Scope(organization="acme")
        key = await callers.create_key(change, "directory", [Role.ORG_ADMIN], service=True, scope=scope)
    made = await invited(Rest(service, {"Authorization": f"Bearer {key.text}"}))
    assert (await accept(service, made["token"])).status_code == 201
    assert service.sql("SELECT requested_by FROM people WHERE external_id = 'e-7'") == [(None,)]


# --- where tokens of issuers are taken --------------------------------------------------------------------------

FILE = """
[[issuers]]
issuer = "{issuer}"
audience = "{audience}"
algorithms = ["ES256"]
person = {{ claim = "employee", organization_claim = "employer" }}

[[issuers.roles]]
claim = "groups"
value = "compliance"
role = "compliance"
"""


@pytest.fixture
async def signing():
    async with Issuer().running() as running:
        yield running


@pytest.fixture
async def trusting(server, programme, tmp_path, signing):
    """The service where an issuer's tokens are taken."""
    (tmp_path / "issuers.toml").write_text(FILE.format(issuer=signing.url, audience=AUDIENCE))
    with postgres.scratch(server, postgres.name_of(programme[0])) as own:
        async with Service.running(own, tmp_path, issuers=tmp_path / "issuers.toml") as running:
            running.keys = dict(programme[1])
            yield running


async def test_with_an_issuer_only_whom_it_is_for_accepts(trusting, signing):
    admin = Rest(trusting, await trusting.key(Role.ORG_ADMIN, organization="acme"))
    made = await invited(admin, external_id=" e-7 ")  # as it will be on record

    def bearer(**claims):
        return {"Authorization": f"Bearer {signing.token(**claims)}"}

    kim = bearer(sub="kim", employee="e-7", employer="acme")
    nobody: dict[str, str] = {}
    for headers in (
        nobody,
        admin.headers,
        trusting.authorization(Role.COMPLIANCE),
        bearer(sub="kim"),
        bearer(employee="us", employer="acme"),
        bearer(employee="e-7", employer="other"),
        bearer(employee="e-7", employer="acme", aud="https://another.example"),
        bearer(employee="e-7", employer="acme", nbf=2**34),
    ):
        assert (await accept(trusting, made["token"], **headers)).status_code == 401, headers
    wrong = api_keys._text(made["token"].split("_")[1], "a" * 64, invitations.PREFIX)
    assert (await accept(trusting, wrong, **kim)).status_code == 401
    # Whoever is not on record is nobody to any other route.
    assert (await trusting.client.get("/v1/programme", headers=kim)).status_code == 401
    done = await accept(trusting, made["token"], **kim)
    assert done.status_code == 201, done.text
    [entry] = [each["body"] for each in await trusting.entries() if each["body"]["type"] == "invitation_accepted"]
    assert entry["actor"].startswith("tok_")
    assert (await accept(trusting, made["token"], **kim)).status_code == 409
    # And is somebody from then on: with no role, who may nothing.
    assert (await trusting.client.get("/v1/programme", headers=kim)).status_code == 403
