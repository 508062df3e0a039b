"""A policy is stored when it is sound, and decides when a second officer has approved it."""

import pytest

from mythos_gate.decision.policy import FILES, content_hash
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import POLICIES, question

pytestmark = pytest.mark.anyio
BASELINE = {name: (POLICIES / name).read_text() for name in FILES}
# Nobody is allowed any more.
CLOSED = BASELINE | {
    "access.csv": "\n".join(
        line.replace("prospect", "active") if line.startswith("not-active") else line
        for line in BASELINE["access.csv"].splitlines()
    )
    + "\n"
}


async def outcome(service):
    context = (await service.ask(question())).json()["context"]
    return context["outcome"], context["policy_revision"]


async def test_a_policy_decides_when_a_second_officer_has_approved_it(service, officer, second):  # noqa: F811
    assert CLOSED != BASELINE
    assert await outcome(service) == ("allow", 1)
    made = await officer("POST", "policies", {"files": CLOSED})
    assert (made.status_code, made.json()["id"]) == (201, content_hash(CLOSED)), made.text
    assert made.headers["location"] == f"/v1/policies/{made.json()['id']}"
    assert (await officer("POST", "policies", {"files": CLOSED})).status_code == 409
    await service.simulated(made.json()["id"])
    wanted = await officer("POST", f"policies/{made.json()['id']}/activate")
    assert wanted.status_code == 202, wanted.text
    assert wanted.json()["before"] == {"policy_revision": 1, "policy_sha256": content_hash(BASELINE)}
    assert wanted.json()["after"] == {"policy_revision": 2, "policy_sha256": content_hash(CLOSED)}
    assert await outcome(service) == ("allow", 1)
    assert (await officer.approve(wanted.json()["id"])).status_code == 403
    assert (await second.approve(wanted.json()["id"])).status_code == 200
    assert await outcome(service) == ("deny", 2)
    listed = (await officer("GET", "policies?limit=1")).json()
    assert [(each["number"], each["in_force"]) for each in listed["items"]] == [(1, False)]
    rest = (await officer("GET", f"policies?cursor={listed['next']}")).json()["items"]
    assert [(each["number"], each["in_force"]) for each in rest] == [(2, True)]
    assert (await officer("GET", f"policies/{made.json()['id']}")).json()["files"] == CLOSED
    entries = [item["body"] for item in await service.entries()]
    (entry,) = [each for each in entries if each["type"] == "policy_activated" and each["before"] == 1]
    assert (entry["after"], entry["sha256"]) == (2, content_hash(CLOSED))
    assert (entry["change_request"], entry["request_sha256"]) == (wanted.json()["id"], wanted.json()["sha256"])


async def test_an_activation_is_of_what_was_in_force_then(service, officer, second):  # noqa: F811
    made = (await officer("POST", "policies", {"files": CLOSED})).json()["id"]
    other = (
        await officer("POST", "policies", {"files": BASELINE | {"messages.csv": BASELINE["messages.csv"] + "\n"}})
    ).json()
    for each in (other["id"], made):
        await service.simulated(each)
    one, two = [(await officer("POST", f"policies/{each}/activate")).json()["id"] for each in (other["id"], made)]
    assert (await second.approve(one)).status_code == 200
    late = await second.approve(two)
    assert (late.status_code, late.json()["code"]) == (403, "POLICY_CHANGE_NOT_SIMULATED"), late.text
    assert "another policy or data set was in force" in late.json()["detail"]
    assert (await outcome(service))[0] == "allow"


async def test_a_policy_that_is_not_sound_is_not_stored(service, officer):  # noqa: F811
    before = service.sql("SELECT count(*) FROM policy_revisions")
    spelt = BASELINE | {"access.csv": BASELINE["access.csv"].replace(",deny,", ",Deny,")}
    for files in (
        spelt,
        {},
        {"access.csv": ""},
        BASELINE | {"more.csv": ""},
        BASELINE | {"access.csv": "\0"},
        BASELINE | {"access.csv": ""},
    ):
        refused = await officer("POST", "policies", {"files": files})
        assert refused.status_code == 400, refused.text
    assert (await officer("POST", f"policies/{'0' * 64}/activate")).status_code == 404
    assert (await officer("GET", "policies/x")).status_code == 404
    assert before == service.sql("SELECT count(*) FROM policy_revisions")


async def test_a_revision_sets_the_limits_by_which_it_decides(service):
    """The screening of an hour ago is good for 48 hours, and not for one."""
    assert await outcome(service) == ("allow", 1)
    limits = (POLICIES / "thresholds.csv").read_text()
    await service.activate(BASELINE | {"thresholds.csv": limits.replace("screening_age,48", "screening_age,1")})
    assert await outcome(service) == ("hold", 2)
    await service.activate(BASELINE | {"thresholds.csv": limits.replace("screening_age,48", "screening_age,3")})
    assert await outcome(service) == ("allow", 3)


async def test_limits_out_of_bounds_are_not_stored(service, officer):  # noqa: F811
    limits = (POLICIES / "thresholds.csv").read_text().replace("approvers,2", "approvers,1")
    refused = await officer("POST", "policies", {"files": BASELINE | {"thresholds.csv": limits}})
    assert (refused.status_code, "from 2 to 5" in refused.json()["detail"]) == (400, True)


async def test_a_revision_tells_how_it_differs_from_its_parent(officer):  # noqa: F811
    [row] = [line for line in BASELINE["access.csv"].splitlines() if line.startswith("training-expired,")]
    changed = BASELINE | {"access.csv": BASELINE["access.csv"].replace(row, row.replace(",DENY,", ",HOLD,"))}
    made = (await officer("POST", "policies", {"files": changed})).json()
    assert list(made["diff"]) == ["access.csv"]
    assert made["diff"]["access.csv"][1:] == [f"-{row}", f"+{row.replace(',DENY,', ',HOLD,')}"]
    parent = (await officer("GET", f"policies/{made['parent']}")).json()
    assert (parent["parent"], parent["diff"]) == (None, {})
