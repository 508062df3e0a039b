"""Ownership: reported by one officer, which denies at once; replaced by two, which ends the review."""

import pytest

from mythos_gate.terms import Role
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio
PATH = "organizations/acme/ownership"


@pytest.fixture
async def officers(service):
    return [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(2)]


async def primary(service):
    return (await service.ask(question())).json()["context"]["reason_admin"]["primary"]


async def put(rest, *owners, **headers):
    tag = (await rest("GET", PATH)).headers["etag"]
    return await rest("PUT", PATH, {"owners": list(owners)}, **({"If-Match": tag} | headers))


async def test_a_reported_change_denies_until_two_have_reviewed_the_owners(service, officers):
    one, two = officers
    reported = await one("PATCH", "organizations/acme", {"ownership_change_pending": True}, **{"If-Match": "*"})
    assert (reported.status_code, reported.json()["ownership_change_pending"]) == (200, True)
    assert await primary(service) == "ORG_OWNERSHIP_REVIEW"
    made = await put(one, {"owner": "Grey Holding", "percent": "30.5"}, {"owner": "Blue Fund", "percent": "20"})
    assert made.status_code == 202
    assert await primary(service) == "ORG_OWNERSHIP_REVIEW"
    assert (await two.approve(made.json()["id"])).status_code == 200
    assert await primary(service) == "ALLOW"
    assert (await one("GET", PATH)).json()["owners"] == [
        {"owner": "Blue Fund", "percent": "20", "blocked": False, "listed": False},
        {"owner": "Grey Holding", "percent": "30.5", "blocked": False, "listed": False},
    ]


async def test_half_in_the_hands_of_blocked_persons_denies_and_nobody_named_owns_nothing(service, officers):
    one, two = officers
    half = {"percent": "25", "blocked": True}
    for owners, expected in [
        ([{"owner": "A"} | half, {"owner": "B"} | half], "ORG_OWNERSHIP_BLOCKED"),
        ([{"owner": "A"} | half], "ALLOW"),
        ([], "ALLOW"),
    ]:
        made = await put(one, *owners)
        assert (await two.approve(made.json()["id"])).status_code == 200
        assert await primary(service) == expected
    assert (await one("GET", PATH)).json()["owners"] == []


async def test_that_no_change_is_pending_needs_a_second_officer(service, officers):
    one, _ = officers
    await one("PATCH", "organizations/acme", {"ownership_change_pending": True}, **{"If-Match": "*"})
    for members in (
        {"ownership_change_pending": False},
        {"ownership_change_pending": True, "name": "x"},
        {"parent_country": "DE"},
    ):
        assert (await one("PATCH", "organizations/acme", members, **{"If-Match": "*"})).status_code == 202


@pytest.mark.parametrize(
    ("owner", "told"),
    [
        ({"owner": "A"}, "owners.0.percent: field required"),
        ({"owner": "A", "percent": "101"}, "is no percentage"),
        ({"owner": "A", "percent": 30}, "owners.0.percent"),
        ({"owner": "A", "percent": "1", "blocked": "yes"}, "owners.0.blocked"),
    ],
    ids=str,
)
async def test_bad_input_is_told_and_nothing_is_kept(service, officers, owner, told):
    before = service.sql("SELECT n FROM revision")
    answer = await put(officers[0], owner)
    assert (answer.status_code, told in answer.json()["detail"]) == (400, True), answer.text
    assert before == service.sql("SELECT n FROM revision")


async def test_the_same_owner_twice_a_stale_tag_and_none_are_refused(officers):
    one, two = officers
    owner = {"owner": "A", "percent": "1"}
    assert (await put(one, owner, owner)).status_code == 400
    tag = (await one("GET", PATH)).headers["etag"]
    made = await put(one, owner)
    assert (await two.approve(made.json()["id"])).status_code == 200
    assert (await put(one, owner, **{"If-Match": tag})).status_code == 412
    assert (await one("PUT", PATH, {"owners": []})).status_code == 428
    assert (await one("GET", "organizations/nowhere/ownership")).status_code == 404
