"""Break-glass over REST: one opens, two approve, it ends, another reviews."""

import pytest

from mythos_gate.terms import Role
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio
OPENING = {"organization": "acme", "incident": "INC-1", "model": "mythos-5", "hours": 2}


@pytest.fixture
async def officers(service):
    return [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(3)]


@pytest.fixture
async def lapsed(service):
    """us has not been trained: a break-glass may pass over that."""
    await service.load(people="organization,external_id,employment,training_expires\nacme,us,employee,now-1d\n")
    return service


async def outcome(service):
    return (await service.ask(question(break_glass="acme/INC-1"))).json()["context"]["outcome"]


async def test_it_passes_when_two_others_have_approved_until_it_is_closed(lapsed, officers):
    opener, first, second = officers
    made = await opener("POST", "break-glass", OPENING)
    assert made.status_code == 201, made.text
    path = f"break-glass/{made.json()['id']}"
    assert await outcome(lapsed) == "deny"
    assert (await opener("POST", f"{path}/approve")).status_code == 409
    assert (await first("POST", f"{path}/approve")).status_code == 200
    assert (await first("POST", f"{path}/approve")).status_code == 409
    assert await outcome(lapsed) == "deny"
    assert (await second("POST", f"{path}/approve")).status_code == 200
    assert await outcome(lapsed) == "allow_break_glass"
    assert (await first("POST", f"{path}/review", {"review": "early"})).status_code == 409
    assert (await opener("POST", f"{path}/close")).status_code == 200
    assert await outcome(lapsed) == "deny"
    assert (await opener("POST", f"{path}/close")).status_code == 409
    assert (await second("POST", f"{path}/approve")).status_code == 409
    due = (await first("GET", "attention")).json()["items"]
    assert ("break_glass_review", "INC-1") in [(each["kind"], each["name"]) for each in due]
    assert (await opener("POST", f"{path}/review", {"review": "by myself"})).status_code == 409
    reviewed = await first("POST", f"{path}/review", {"review": "Jane was needed"})
    assert (reviewed.json()["review"], reviewed.json()["reviewed_by"]) == (
        "Jane was needed",
        reviewed.json()["approvers"][0],
    )
    assert (await second("POST", f"{path}/review", {"review": "again"})).status_code == 409
    due = (await first("GET", "attention")).json()["items"]
    assert "break_glass_review" not in [each["kind"] for each in due]
    entries = [item["body"] for item in await lapsed.entries() if item["body"]["type"].startswith("break_glass")]
    assert [entry["type"].removeprefix("break_glass_") for entry in entries] == [
        "opened", "approved", "approved", "closed", "reviewed",
    ]  # fmt: skip
    assert {entry["break_glass"] for entry in entries} == {made.json()["id"]}
    assert "Jane" not in str(entries)
    assert (await first("GET", path)).json() in (await first("GET", "break-glass")).json()["items"]


async def test_it_is_for_those_whom_it_names(lapsed, officers):
    opener, first, second = officers
    made = (await opener("POST", "break-glass", OPENING | {"people": ["ca"]})).json()
    assert made["people"] == ["ca"]
    for officer in (first, second):
        await officer("POST", f"break-glass/{made['id']}/approve")
    assert await outcome(lapsed) == "deny"


@pytest.mark.parametrize(
    "wrong",
    [{"hours": 8.5}, {"hours": 0}, {"hours": "2"}, {"organization": "nowhere"}, {"people": ["nobody"]}, {"people": []}, {"model": "x"}, {"approvers": ["a", "b"]}, {"incident": ""}],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_opened_is_refused(lapsed, officers, wrong):
    assert (await officers[0]("POST", "break-glass", OPENING | wrong)).status_code == 400


async def test_an_incident_is_opened_once(officers):
    assert (await officers[0]("POST", "break-glass", OPENING)).status_code == 201
    assert (await officers[1]("POST", "break-glass", OPENING)).status_code == 409


async def test_a_service_approves_nothing_and_others_may_not(service, officers):
    made = (await officers[0]("POST", "break-glass", OPENING)).json()["id"]
    automatic = Rest(service, service.authorization(Role.COMPLIANCE))
    assert (await automatic("POST", f"break-glass/{made}/approve")).status_code == 403
    for role in (Role.GATEWAY, Role.AUDITOR):
        other = Rest(service, service.authorization(role))
        for path in ("break-glass", f"break-glass/{made}/approve", f"break-glass/{made}/close"):
            assert (await other("POST", path, OPENING)).status_code == 403
    assert (await officers[0]("POST", "break-glass/bgl_0/close")).status_code == 404


async def test_two_keys_of_one_person_are_one_approver_and_one_opener(lapsed):
    keys = [Rest(lapsed, await lapsed.key(Role.COMPLIANCE, person="acme/ca")) for _ in range(2)]
    other = [Rest(lapsed, await lapsed.key(Role.COMPLIANCE)) for _ in range(2)]
    path = f"break-glass/{(await keys[0]('POST', 'break-glass', OPENING)).json()['id']}"
    for step, body in (("approve", None), ("close", None), ("review", {"review": "x"})):
        refused = await keys[1]("POST", f"{path}/{step}", body)
        assert refused.status_code == (200 if step == "close" else 409), step
        if step != "close":
            assert refused.json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    path = f"break-glass/{(await other[0]('POST', 'break-glass', OPENING | {'incident': 'INC-2'})).json()['id']}"
    assert [(await key("POST", f"{path}/approve")).status_code for key in keys] == [200, 409]
    assert (await other[0]("POST", f"{path}/close")).status_code == 200
    over = await other[1]("POST", f"{path}/approve")
    assert (over.status_code, "is over" in over.json()["detail"]) == (409, True)
