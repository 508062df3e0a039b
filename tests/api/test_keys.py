"""A key is requested by one and approved by another; until then it opens nothing, and its secret is shown once."""

import json
from datetime import timedelta

import pytest

from mythos_gate.audit.entry import timestamp
from mythos_gate.terms import Role
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import PROGRAMME, question

pytestmark = pytest.mark.anyio
KIM = "organization,external_id,employment\nother,kim,employee\n"
NEW = {"name": "Kim Farlow", "roles": ["compliance"], "person": "other/kim"}


async def test_a_key_opens_nothing_before_it_is_approved_and_is_shown_once(service, officer, second):  # noqa: F811
    await service.load(people=KIM)
    made = await officer("POST", "keys", NEW | {"expires": timestamp(service.now + timedelta(days=1))})
    assert made.status_code == 202, made.text
    key = made.json().pop("key")
    theirs = Rest(service, {"Authorization": f"Bearer {key}"})
    assert (await theirs("GET", "people")).status_code == 401
    assert (made.json()["before"], made.json()["after"]["roles"]) == ({}, ["compliance"])
    assert made.json()["after"]["person"] == "other/kim"
    own = await officer.approve(made.json()["id"])
    assert own.json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    assert (await theirs.approve(made.json()["id"])).status_code == 401
    assert (await second.approve(made.json()["id"])).status_code == 200
    assert (await theirs("GET", "people")).status_code == 200
    assert (
        await service.client.post("/access/v1/evaluation", json=question(), headers=theirs.headers)
    ).status_code == 200
    secret, public = key.split("_")[2], key.split("_")[1]
    entries = [item["body"] for item in await service.entries()]
    (entry,) = [each for each in entries if each.get("key") == public and each["type"] == "key_created"]
    assert (entry["roles"], entry["change_request"]) == (["compliance"], made.json()["id"])
    shown = [await second("GET", path) for path in (f"change-requests/{made.json()['id']}", "change-requests", "keys")]
    hashed = service.sql("SELECT encode(hash, 'hex') FROM api_keys WHERE id = %s", public)[0][0]
    for told in [*(each.text for each in shown), json.dumps(entries)]:
        assert secret not in told
        assert hashed not in told
    assert service.sql("SELECT count(*) FROM change_request_contents") == [(0,)]


@pytest.mark.parametrize("decided", ["rejected", "nothing"])
async def test_a_key_that_is_not_approved_never_opens_anything(service, officer, second, decided):  # noqa: F811
    made = (await officer("POST", "keys", {"name": "gw", "roles": ["gateway"], "service": True})).json()
    if decided == "rejected":
        rejected = await second("POST", f"change-requests/{made['id']}/reject", {"reason": "no such gateway"})
        assert rejected.status_code == 200
        assert service.sql("SELECT count(*) FROM change_request_contents") == [(0,)]
    answer = await service.client.get("/v1/programme", headers={"Authorization": f"Bearer {made['key']}"})
    assert answer.status_code == 401
    assert service.sql("SELECT count(*) FROM callers WHERE name = 'gw'") == [(0,)]


async def test_whose_key_it_is_does_not_approve_it(service, officer, second):  # noqa: F811
    await service.load(people=KIM)
    theirs = Rest(service, await service.key(Role.COMPLIANCE, person="other/kim"))
    more = NEW | {"name": "Kim as administrator", "roles": ["org_admin"], "organization": "acme"}
    made = (await officer("POST", "keys", more)).json()
    refused = await theirs.approve(made["id"])
    assert (refused.status_code, refused.json()["code"]) == (403, "SELF_APPROVAL_FORBIDDEN")
    assert (await second.approve(made["id"])).status_code == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [({"roles": []}, 400), ({"roles": ["root"]}, 400), ({"name": " "}, 400), ({"person": "other/nobody"}, 400),
     ({"roles": ["org_admin"]}, 400), ({"roles": ["officer"]}, 400), ({"expires": "2020-01-01T00:00:00Z"}, 400),
     ({"name": "test gateway"}, 409), ({"hash": "00"}, 400), ({"organization": "acme"}, 400),
     ({"roles": ["scim"], "organization": ""}, 400), ({"roles": ["officer"], "authority": ""}, 400), ({"person": ""}, 400)],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_a_key_is_told_at_once(service, officer, given, status):  # noqa: F811
    await service.load(people=KIM)
    assert (await officer("POST", "keys", NEW | given)).status_code == status
    assert service.sql("SELECT count(*) FROM change_requests") == [(0,)]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR, Role.GATEWAY, Role.OFFICER, Role.ORG_ADMIN])
async def test_only_compliance_requests_keys(service, role):
    scope = {Role.OFFICER: {"authority": "orrery"}, Role.ORG_ADMIN: {"organization": "acme"}}.get(role, {})
    rest = Rest(service, await service.key(role, **scope))
    assert (await rest("POST", "keys", {"name": "x", "roles": ["auditor"]})).status_code == 403
    assert "people" in PROGRAMME


async def test_a_caller_has_two_keys_at_a_time_so_that_one_takes_the_others_place(service, officer, second):  # noqa: F811
    async def works(rest):
        return (await service.client.get("/v1/programme", headers=rest.headers)).status_code == 200

    async def another():
        made = await officer("POST", "keys", {"name": "watch", "roles": ["operator"], "service": True})
        assert made.status_code == 202, made.text
        return made.json()["id"], Rest(service, {"Authorization": f"Bearer {made.json()['key']}"})

    def revoke(rest):
        return officer("POST", f"keys/{rest.headers['Authorization'].split('_')[1]}/revoke")

    pending = [await another() for _ in range(3)]
    keys = [rest for _, rest in pending]
    assert [(await second.approve(identifier)).status_code for identifier, _ in pending] == [200, 200, 409]
    assert [await works(each) for each in keys] == [True, True, False]
    third = await officer("POST", "keys", {"name": "watch", "roles": ["operator"], "service": True})
    assert (third.status_code, third.json()["detail"]) == (409, "watch has 2 keys that are good: revoke one first")
    assert (await revoke(keys[0])).status_code == 200
    assert [await works(each) for each in keys] == [False, True, False]
    assert (await second.approve(pending[2][0])).status_code == 200
    assert [await works(each) for each in keys] == [False, True, True]
    # What is over counts for nothing either.
    over = f"UPDATE api_keys SET expires_at = now() WHERE id = '{keys[1].headers['Authorization'].split('_')[1]}'"
    service.sql(f"{over}; UPDATE touched SET n = 0 WHERE n IS NULL")
    identifier, last = await another()
    assert (await second.approve(identifier)).status_code == 200
    assert [await works(each) for each in (*keys, last)] == [False, False, True, True]
