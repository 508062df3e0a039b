"""What widens access needs a second officer; what narrows it acts at once."""

import json
from datetime import datetime, timedelta
from hashlib import sha256

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from mythos_gate.terms import Role
from tests.api.test_resources import NEW, Rest, officer, second  # noqa: F401  fixtures
from tests.service import Service, question

pytestmark = pytest.mark.anyio
ANY = {"If-Match": "*"}


async def allowed(service, **changes):
    return (await service.ask(question(**changes))).json()["decision"]


async def types(service, since):
    return [item["body"]["type"] for item in (await service.entries())[since:] if item["body"]["type"] != "decision"]


async def test_a_stop_acts_at_once_and_is_lifted_by_two(service, officer, second):  # noqa: F811
    since = len(await service.entries())
    assert await allowed(service)
    made = await officer("POST", "stops", {"scope": "model", "target": "mythos-5"})
    assert made.status_code == 201, made.text
    assert not await allowed(service)
    standing = (await officer("GET", "stops")).json()["items"]
    assert [(stop["id"], stop["target"]) for stop in standing] == [(made.json()["id"], "mythos-5")]
    lift = await officer("POST", f"stops/{made.json()['id']}/lift")
    assert lift.status_code == 202
    assert not await allowed(service)
    assert (await officer.approve(lift.json()["id"])).status_code == 403
    assert not await allowed(service)
    assert (await second.approve(lift.json()["id"])).json()["state"] == "approved"
    assert await allowed(service)
    assert (await officer("GET", "stops")).json()["items"] == []
    assert [kind for kind in await types(service, since) if kind not in {"seat_claimed", "session_opened", "key_created"}] == [
        "stop_set", "change_requested", "refused", "stop_lifted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "stop",
    [{"scope": "everything"}, {"scope": "authority", "target": "orrery"}, {"scope": "organization", "target": "acme", "incident": "I-1"},
     {"scope": "person", "target": "acme/us", "incident": "I-1"}, {"scope": "endpoint", "target": "acme/ep-1", "incident": "I-1"}],
    ids=lambda stop: stop["scope"],
)  # fmt: skip
async def test_every_stop_acts_on_the_next_decision(service, officer, stop):  # noqa: F811
    assert (await officer("POST", "stops", stop)).status_code == 201
    assert not await allowed(service)
    assert (await officer("POST", "stops", stop)).status_code == 409
    [standing] = (await officer("GET", "stops")).json()["items"]
    assert (standing["scope"], standing["target"]) == (stop["scope"], stop.get("target"))


@pytest.mark.parametrize(
    "stop",
    [{"scope": "person", "target": "us", "incident": "I-1"}, {"scope": "endpoint", "target": "ep-1", "incident": "I-1"}, {}, {"scope": "planet"}, {"scope": "model"}, {"scope": "model", "target": "nothing"}, {"scope": "everything", "target": "x"},
     {"scope": "person", "target": "acme/us"}, {"scope": "model", "target": "mythos-5", "lifted": True}],
    ids=str,
)  # fmt: skip
async def test_a_stop_that_names_nothing_is_refused(service, officer, stop):  # noqa: F811
    assert (await officer("POST", "stops", stop)).status_code == 400
    assert await allowed(service)


@pytest.mark.parametrize(
    ("path", "narrow"),
    [("people/acme/us", "suspend"), ("organizations/acme", "suspend"), ("grants/{V-1}", "suspend")],
)
async def test_what_was_suspended_comes_back_by_two(service, officer, second, path, narrow):  # noqa: F811
    ((grant,),) = service.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    path = path.replace("{V-1}", grant)
    await officer("POST", f"{path}/{narrow}")
    assert not await allowed(service)
    back = await officer("POST", f"{path}/activate")
    assert (back.status_code, back.json()["state"]) == (202, "requested")
    assert not await allowed(service)
    done = await second.approve(back.json()["id"])
    assert done.status_code == 200, done.text
    assert await allowed(service)
    [entry] = [item["body"] for item in await service.entries() if "requested_by" in item["body"]]
    assert (entry["before"], entry["after"]) == ("suspended", "active")
    assert entry["actor"] != entry["requested_by"] == back.json()["requested_by"]


async def test_a_grant_is_in_force_when_a_second_officer_says_so(service, officer, second):  # noqa: F811
    draft = NEW["grants"] | {"organization": "acme"}
    made = await officer("POST", "grants", draft | {"status": "active"})
    assert made.status_code == 202
    assert (await officer("GET", "grants?organization=acme")).json()["items"].__len__() == 2
    assert (await second.approve(made.json()["id"])).status_code == 200
    assert (await officer("GET", "grants?organization=acme&status=active")).json()["items"].__len__() == 3


@pytest.mark.parametrize("status", ["active", "ACTIVE", " Active ", "suspended", "revoked"])
@pytest.mark.parametrize("name", ["grants", "organizations"])
async def test_nothing_but_what_is_prepared_is_created_by_one(officer, name, status):  # noqa: F811
    answer = await officer("POST", name, NEW[name] | {"status": status})
    assert answer.status_code == (400 if (name, status) == ("organizations", "revoked") else 202)
    assert NEW[name].get("reference", "third") not in (await officer("GET", name)).text


async def test_a_service_is_no_second_officer(service, officer):  # noqa: F811
    automatic = Rest(service, service.authorization(Role.COMPLIANCE))
    second = Rest(service, await service.key(Role.COMPLIANCE))  # noqa: F811
    await second("POST", "people/acme/us/suspend")
    made = (await second("POST", "people/acme/us/activate")).json()["id"]
    assert (await automatic.approve(made)).status_code == 403
    assert not await allowed(service)


async def test_what_was_proposed_before_a_suspension_does_not_undo_it(service, officer, second):  # noqa: F811
    await officer("POST", "people/acme/us/suspend")
    first, other = [(await officer("POST", "people/acme/us/activate")).json()["id"] for _ in range(2)]
    assert (await second.approve(first)).status_code == 200
    assert (await officer("POST", "people/acme/us/suspend", {"reason": "a new incident"})).status_code == 200
    assert (await second.approve(other)).status_code == 409
    assert not await allowed(service)


async def test_a_proposal_with_any_tag_is_tied_to_what_was_on_record(officer, second):  # noqa: F811
    made = [
        (await officer("PATCH", "organizations/acme", {"name": name}, **{"If-Match": "*"})).json()["id"]
        for name in ("Acme Energy", "Acme Bank")
    ]
    assert (await second.approve(made[1])).status_code == 200
    assert (await second.approve(made[0])).status_code == 412
    assert (await officer("GET", "organizations/acme")).json()["name"] == "Acme Bank"


async def test_what_cannot_be_done_is_told_to_who_proposes_it(service, officer):  # noqa: F811
    before = service.sql("SELECT n FROM revision")
    for path, members, status in [
        ("grants", NEW["grants"] | {"status": "active", "model": "nothing"}, 400),
        ("people/acme/us/activate", None, 409),
        ("people/acme/nobody/activate", None, 404),
        ("stops/stp_0/lift", None, 404),
    ]:
        assert (await officer("POST", path, members)).status_code == status
    assert (await officer("PATCH", "organizations/acme", {"name": "x"}, **{"If-Match": '"old"'})).status_code == 412
    assert before == service.sql("SELECT n FROM revision")
    assert (await officer("GET", "change-requests")).json() == {"items": [], "next": None}


async def test_a_record_that_was_changed_meanwhile_is_proposed_again(service, officer, second):  # noqa: F811
    tag = (await officer("GET", "organizations/acme")).headers["etag"]
    made = [
        (await officer("PATCH", "organizations/acme", {"name": name}, **{"If-Match": tag})).json()["id"]
        for name in ("Acme Energy", "Acme Bank")
    ]
    assert (await second.approve(made[0])).status_code == 200
    assert (await second.approve(made[1])).status_code == 412
    assert (await officer("GET", "organizations/acme")).json()["name"] == "Acme Energy"


async def test_what_is_decided_is_decided(service, officer, second):  # noqa: F811
    tag = (await officer("GET", "organizations/acme")).headers["etag"]
    made = (await officer("PATCH", "organizations/acme", {"name": "x"}, **{"If-Match": tag})).json()["id"]
    assert [each["id"] for each in (await officer("GET", "change-requests?state=requested")).json()["items"]] == [made]
    assert (await second("POST", f"change-requests/{made}/withdraw")).status_code == 403
    assert (await second("POST", f"change-requests/{made}/reject", {})).status_code == 400
    assert (await second("POST", f"change-requests/{made}/reject", {"reason": " "})).status_code == 400
    assert (await officer("POST", f"change-requests/{made}/reject", {"reason": "mine"})).status_code == 403
    rejected = (await second("POST", f"change-requests/{made}/reject", {"reason": "not before May"})).json()
    assert (rejected["state"], rejected["reason"]) == ("rejected", "not before May")
    assert (await second.approve(made)).status_code == 409
    assert (await second("POST", f"change-requests/{made}/reject", {"reason": "again"})).status_code == 409
    assert (await officer("POST", f"change-requests/{made}/withdraw")).status_code == 409
    assert (await officer("GET", f"change-requests/{made}")).json() == rejected
    assert (await officer("GET", "organizations/acme")).json()["name"] == "Acme"
    assert (await officer("GET", "change-requests/chg_0")).status_code == 404
    assert "not before May" not in str(await service.entries())


async def test_a_request_is_taken_back_by_whoever_made_it(officer):  # noqa: F811
    made = (await officer("PATCH", "organizations/acme", {"name": "x"}, **ANY)).json()["id"]
    assert (await officer("POST", f"change-requests/{made}/withdraw")).json()["state"] == "withdrawn"


HASHED = (
    "id",
    "action",
    "resource",
    "reference",
    "members",
    "before",
    "after",
    "etag",
    "requested_by",
    "authority_id",
    "expires_at",
)


def digest(made):
    """As whoever reads a request can work it out."""
    asked = {name: made[name] for name in HASHED} | {"apart": {"salt": made["salt"]}}
    return sha256(json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


async def test_a_request_says_what_would_change_and_names_exactly_that(service, officer, second):  # noqa: F811
    made = (await officer("PATCH", "organizations/acme", {"name": "Acme Energy", "parent_country": "US"}, **ANY)).json()
    assert (made["before"], made["after"]) == ({"name": "Acme"}, {"name": "Acme Energy"})
    assert made["sha256"] == digest(made)
    other = (await officer("PATCH", "organizations/acme", {"name": "Acme Bank"}, **ANY)).json()
    for wrong in (other["sha256"], "0" * 64):
        refused = await second("POST", f"change-requests/{made['id']}/approve", {"sha256": wrong})
        assert (refused.status_code, "read it again" in refused.json()["detail"]) == (412, True)
    for wrong in ({}, {"sha256": made["sha256"].upper()}, {"sha256": None}):
        assert (await second("POST", f"change-requests/{made['id']}/approve", wrong)).status_code == 400
    done = await second(
        "POST", f"change-requests/{made['id']}/approve", {"sha256": made["sha256"], "reason": "as filed"}
    )
    assert (done.status_code, done.json()["state"], done.json()["reason"]) == (200, "approved", "as filed")
    entries = [item["body"] for item in await service.entries()]
    told = [entry for entry in entries if entry.get("change_request") == made["id"]]
    assert [entry["type"] for entry in told] == ["change_requested", "organization_changed"]
    assert [told[0]["sha256"], told[1]["request_sha256"]] == [made["sha256"]] * 2
    assert "Acme Energy" not in str(entries)
    assert "as filed" not in str(entries)


@pytest.mark.parametrize(
    "altered",
    ["members = jsonb_build_object('name', 'Acme Bank')", "after = '{}'", "expires_at = expires_at + interval '1 day'",
     "salt = 'x'", "sha256 = NULL", "reference = (SELECT id FROM organizations WHERE slug = 'other')"],
)  # fmt: skip
async def test_what_was_altered_below_the_gate_is_not_approved(service, officer, second, altered):  # noqa: F811
    made = (await officer("PATCH", "organizations/acme", {"name": "Acme Energy"}, **ANY)).json()
    service.sql(f"UPDATE change_requests SET {altered} WHERE id = %s", made["id"])
    refused = await second("POST", f"change-requests/{made['id']}/approve", {"sha256": made["sha256"]})
    assert (refused.status_code, refused.json()["type"]) == (412, "urn:mythos-gate:problem:outdated")


@pytest.mark.parametrize("side", ["before", "after"])
async def test_what_would_be_done_is_what_was_shown(service, officer, second, side):  # noqa: F811
    """However it comes that they differ, and though the hash is right."""
    made = (await officer("PATCH", "organizations/acme", {"name": "Acme Energy"}, **ANY)).json()
    other = made | {side: {"name": "Acme Bank"}}
    service.sql(
        f"UPDATE change_requests SET {side} = %s, sha256 = %s WHERE id = %s",
        json.dumps(other[side]), digest(other), made["id"],
    )  # fmt: skip
    refused = await second.approve(made["id"])
    assert (refused.status_code, "request it anew" in refused.json()["detail"]) == (412, True)
    assert (await officer("GET", "organizations/acme")).json()["name"] == "Acme"


async def test_a_request_expires(service, officer, second, tmp_path):  # noqa: F811
    made = (await officer("PATCH", "organizations/acme", {"name": "Acme Energy"}, **ANY)).json()
    begun, until = (datetime.fromisoformat(made[name]) for name in ("created_at", "expires_at"))
    assert timedelta(days=7) - timedelta(minutes=1) < until - begun < timedelta(days=7) + timedelta(minutes=1)
    async with Service.running(service.database, tmp_path / "later", timedelta(days=7)) as there:
        late = Rest(there, second.headers)
        assert (await late("GET", f"change-requests/{made['id']}")).json()["state"] == "expired"
        for state, expected in (("expired", [made["id"]]), ("requested", [])):
            found = (await late("GET", f"change-requests?state={state}")).json()["items"]
            assert [item["id"] for item in found] == expected
        told = await late.approve(made["id"])
        assert (told.status_code, "has expired" in told.json()["detail"]) == (409, True)
        assert (await late("POST", f"change-requests/{made['id']}/reject", {"reason": "late"})).status_code == 409
    assert (await second.approve(made["id"])).status_code == 200


async def test_how_long_a_request_waits_is_set(service, officer, tmp_path):  # noqa: F811
    async with Service.running(service.database, tmp_path / "short", change_request_days=0.5) as there:
        made = (await Rest(there, officer.headers)("PATCH", "organizations/acme", {"name": "x"}, **ANY)).json()
    waits = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert abs(waits - timedelta(hours=12)) < timedelta(minutes=1)


PERMANENT = [
    "UPDATE change_requests SET members = '{}'", "UPDATE change_requests SET sha256 = ''",
    "UPDATE change_requests SET requested_by = requested_by", "UPDATE change_requests SET expires_at = now()",
    "DELETE FROM change_requests", "TRUNCATE change_requests CASCADE",
]  # fmt: skip


async def test_a_request_is_a_permanent_record(service, officer, second):  # noqa: F811
    for step in range(2):
        made = (await officer("PATCH", "organizations/acme", {"name": f"x{step}"}, **ANY)).json()["id"]
        async with service.gate.registry.engine.connect() as connection:
            for statement in PERMANENT:
                with pytest.raises(ProgrammingError, match="permission denied"):
                    await connection.execute(text(statement))
                await connection.rollback()
        assert (await second.approve(made)).status_code == 200
    # What is decided not even the owner decides anew, and nobody drops a request.
    for statement in (
        "UPDATE change_requests SET state = 'rejected', reason = 'x'",
        "UPDATE change_requests SET reason = 'x'",
        *PERMANENT[4:],
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            service.sql(statement)
    assert service.sql("SELECT DISTINCT state FROM change_requests") == [("approved",)]


async def test_what_is_older_than_the_hashes_is_not_approved(service, officer, second):  # noqa: F811
    made = (await officer("PATCH", "organizations/acme", {"name": "x"}, **ANY)).json()["id"]
    service.sql("UPDATE change_requests SET sha256 = NULL, salt = NULL, before = '{}', after = '{}'")
    for guess in ("0" * 64,):
        assert (await second("POST", f"change-requests/{made}/approve", {"sha256": guess})).status_code == 412
    assert (await second("POST", f"change-requests/{made}/reject", {"reason": "old"})).status_code == 200


async def test_the_cap_is_held_when_it_is_confirmed(service, officer, second):  # noqa: F811
    await service.load(authorities="authority,name,kind,organization_cap\norrery,Orrery Labs,vendor,1\n")
    assert (await officer("POST", "grants", NEW["grants"])).status_code == 201
    ((draft,),) = service.sql("SELECT id FROM grants WHERE reference = 'V-9'")
    refused = await officer("POST", f"grants/{draft}/activate")
    assert (refused.status_code, "whose cap is 1" in refused.json()["detail"]) == (409, True)


@pytest.mark.parametrize("role", [Role.GATEWAY, Role.AUDITOR])
async def test_only_officers_decide(service, officer, role):  # noqa: F811
    other = Rest(service, service.authorization(role))
    made = (await officer("POST", "stops", {"scope": "everything"})).json()["id"]
    lift = (await officer("POST", f"stops/{made}/lift")).json()["id"]
    for path in (
        f"change-requests/{lift}/approve",
        f"change-requests/{lift}/reject",
        f"change-requests/{lift}/withdraw",
        f"stops/{made}/lift",
        "stops",
    ):
        assert (await other("POST", path, {"scope": "everything"})).status_code == 403
