"""What widens access needs a second officer; what narrows it acts at once."""

import pytest

from mythos_gate.terms import Role
from tests.api.test_resources import NEW, Rest, officer, second  # noqa: F401  fixtures
from tests.service import question

pytestmark = pytest.mark.anyio


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
    assert (await officer("POST", f"proposals/{lift.json()['id']}/confirm")).status_code == 403
    assert not await allowed(service)
    assert (await second("POST", f"proposals/{lift.json()['id']}/confirm")).json()["state"] == "confirmed"
    assert await allowed(service)
    assert (await officer("GET", "stops")).json()["items"] == []
    assert [kind for kind in await types(service, since) if kind not in {"seat_claimed", "session_opened", "key_created"}] == [
        "stop_set", "proposal_made", "refused", "stop_lifted",
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
    assert (back.status_code, back.json()["state"]) == (202, "proposed")
    assert not await allowed(service)
    done = await second("POST", f"proposals/{back.json()['id']}/confirm")
    assert done.status_code == 200, done.text
    assert await allowed(service)
    [entry] = [item["body"] for item in await service.entries() if "proposed_by" in item["body"]]
    assert (entry["before"], entry["after"]) == ("suspended", "active")
    assert entry["actor"] != entry["proposed_by"] == back.json()["proposed_by"]


async def test_a_grant_is_in_force_when_a_second_officer_says_so(service, officer, second):  # noqa: F811
    draft = NEW["grants"] | {"organization": "acme"}
    made = await officer("POST", "grants", draft | {"status": "active"})
    assert made.status_code == 202
    assert (await officer("GET", "grants?organization=acme")).json()["items"].__len__() == 2
    assert (await second("POST", f"proposals/{made.json()['id']}/confirm")).status_code == 200
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
    assert (await automatic("POST", f"proposals/{made}/confirm")).status_code == 403
    assert not await allowed(service)


async def test_what_was_proposed_before_a_suspension_does_not_undo_it(service, officer, second):  # noqa: F811
    await officer("POST", "people/acme/us/suspend")
    first, other = [(await officer("POST", "people/acme/us/activate")).json()["id"] for _ in range(2)]
    assert (await second("POST", f"proposals/{first}/confirm")).status_code == 200
    assert (await officer("POST", "people/acme/us/suspend", {"reason": "a new incident"})).status_code == 200
    assert (await second("POST", f"proposals/{other}/confirm")).status_code == 409
    assert not await allowed(service)


async def test_a_proposal_with_any_tag_is_tied_to_what_was_on_record(officer, second):  # noqa: F811
    made = [
        (await officer("PATCH", "organizations/acme", {"name": name}, **{"If-Match": "*"})).json()["id"]
        for name in ("Acme Energy", "Acme Bank")
    ]
    assert (await second("POST", f"proposals/{made[1]}/confirm")).status_code == 200
    assert (await second("POST", f"proposals/{made[0]}/confirm")).status_code == 412
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
    assert (await officer("GET", "proposals")).json() == {"items": [], "next": None}


async def test_a_record_that_was_changed_meanwhile_is_proposed_again(service, officer, second):  # noqa: F811
    tag = (await officer("GET", "organizations/acme")).headers["etag"]
    made = [
        (await officer("PATCH", "organizations/acme", {"name": name}, **{"If-Match": tag})).json()["id"]
        for name in ("Acme Energy", "Acme Bank")
    ]
    assert (await second("POST", f"proposals/{made[0]}/confirm")).status_code == 200
    assert (await second("POST", f"proposals/{made[1]}/confirm")).status_code == 412
    assert (await officer("GET", "organizations/acme")).json()["name"] == "Acme Energy"


async def test_what_is_decided_is_decided(officer, second):  # noqa: F811
    tag = (await officer("GET", "organizations/acme")).headers["etag"]
    made = (await officer("PATCH", "organizations/acme", {"name": "x"}, **{"If-Match": tag})).json()["id"]
    assert [each["id"] for each in (await officer("GET", "proposals?state=proposed")).json()["items"]] == [made]
    assert (await second("POST", f"proposals/{made}/withdraw")).json()["state"] == "withdrawn"
    for step in ("confirm", "withdraw"):
        assert (await second("POST", f"proposals/{made}/{step}")).status_code == 409
    assert (await officer("GET", f"proposals/{made}")).json()["state"] == "withdrawn"
    assert (await officer("GET", "organizations/acme")).json()["name"] == "Acme"
    assert (await officer("GET", "proposals/prp_0")).status_code == 404


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
    for path in (f"proposals/{lift}/confirm", f"proposals/{lift}/withdraw", f"stops/{made}/lift", "stops"):
        assert (await other("POST", path, {"scope": "everything"})).status_code == 403
