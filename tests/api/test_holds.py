"""Legal holds: set by one officer, lifted by two; under one nobody is erased."""

import asyncio

import pytest

from mythos_gate.registry import holds
from mythos_gate.terms import Role
from tests.api.test_erasure import aged, erased
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import question, until

pytestmark = [pytest.mark.anyio, pytest.mark.verified]
ON_PERSON = {"scope": "person", "target": "acme/ca", "matter": "M-1"}
ON_ORGANIZATION = {"scope": "organization", "target": "acme", "matter": "M-1"}
ERASURE = "people/acme/ca/erasure"


async def placed(rest, hold=ON_PERSON):
    answer = await rest("POST", "legal-holds", hold)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.mark.parametrize("hold", [ON_PERSON, ON_ORGANIZATION], ids=lambda hold: hold["scope"])
async def test_under_a_hold_nobody_is_erased_until_two_have_lifted_it(service, officer, second, hold):  # noqa: F811
    aged(service)
    waiting = (await officer("POST", ERASURE)).json()["id"]
    made = await placed(second, hold)
    for told in (await officer("POST", ERASURE), await second.approve(waiting)):
        assert (told.status_code, told.json()["code"]) == (409, "RETENTION_HOLD")
        assert "legal hold keeps the records of this person (15 CFR 762.6(b))" in told.json()["detail"]
    lift = (await officer("POST", f"legal-holds/{made}/lift")).json()
    assert (lift["state"], lift["resource"], lift["reference"]) == ("requested", "legal_holds", made)
    assert (await officer.approve(lift["id"])).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    assert (await officer("POST", ERASURE)).status_code == 409
    assert (await second.approve(lift["id"])).status_code == 200
    assert (await officer("POST", f"legal-holds/{made}/lift")).status_code == 409
    await erased(service, officer, second, "people/acme/ca")
    types = [item["body"]["type"] for item in await service.entries()]
    assert [types.count(each) for each in ("legal_hold_set", "legal_hold_lifted", "person_erased")] == [1, 1, 1]


async def test_a_hold_of_others_keeps_nobody(service, officer, second):  # noqa: F811
    aged(service)
    for hold in ({**ON_PERSON, "target": "acme/us"}, {**ON_ORGANIZATION, "target": "other"}):
        await placed(officer, hold)
    await erased(service, officer, second, "people/acme/ca")


async def test_holds_are_listed_and_read_with_their_targets_and_stop_nobody(service, officer, second):  # noqa: F811
    made = {await placed(officer, hold): hold for hold in (ON_PERSON, ON_ORGANIZATION, {**ON_PERSON, "matter": "M-2"})}
    listed = (await officer("GET", "legal-holds")).json()["items"]
    assert {each["id"]: {name: each[name] for name in ON_PERSON} for each in listed} == made
    assert [each["id"] for each in listed] == sorted(made)
    first = min(made)
    assert (await officer("GET", f"legal-holds/{first}")).json() == listed[0]
    assert (await officer("GET", "legal-holds?lifted=true")).json()["items"] == []
    assert (await officer("GET", f"legal-holds?limit=1&cursor={first}")).json()["items"] == listed[1:2]
    again = await second("POST", "legal-holds", ON_PERSON)
    assert (again.status_code, "nothing further is needed" in again.json()["detail"]) == (409, True)
    assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is True


async def test_a_hold_that_was_to_be_lifted_and_is_set_again_goes_on_standing(officer, second):  # noqa: F811
    made = await placed(officer)
    lift = (await officer("POST", f"legal-holds/{made}/lift")).json()["id"]
    assert await placed(second) == made
    assert (await second.approve(lift)).status_code == 409
    assert [each["id"] for each in (await officer("GET", "legal-holds")).json()["items"]] == [made]


@pytest.mark.parametrize(
    "hold",
    [{}, {"scope": "person"}, {**ON_PERSON, "target": "ca"}, {**ON_PERSON, "target": "acme/nobody"}, {**ON_PERSON, "matter": ""},
     {**ON_PERSON, "scope": "model"}, {**ON_ORGANIZATION, "target": "acme/ca"}, {**ON_PERSON, "lifted": False}],
    ids=str,
)  # fmt: skip
async def test_a_hold_that_names_nothing_is_refused(officer, hold):  # noqa: F811
    assert (await officer("POST", "legal-holds", hold)).status_code == 400
    assert (await officer("GET", "legal-holds/hld_0")).status_code == 404
    assert (await officer("POST", "legal-holds/hld_0/lift")).status_code == 404


async def test_only_compliance_sets_sees_and_lifts(service, officer):  # noqa: F811
    made = await placed(officer)
    lift = (await officer("POST", f"legal-holds/{made}/lift")).json()["id"]
    for role, scope in ((Role.OFFICER, {"authority": "orrery"}), (Role.ORG_ADMIN, {"organization": "acme"})):
        other = Rest(service, await service.key(role, **scope))
        for method, path in (
            ("POST", "legal-holds"), ("GET", "legal-holds"), ("GET", f"legal-holds/{made}"), ("POST", f"legal-holds/{made}/lift"),
        ):  # fmt: skip
            assert (
                await other(method, path, ON_PERSON if path == "legal-holds" and method == "POST" else None)
            ).status_code == 403
        assert (await other.approve(lift)).status_code in {403, 404}
    assert (await officer("GET", "legal-holds")).json()["items"] != []


async def test_a_hold_comes_before_an_erasure_or_after_it_never_in_between(service, officer, second, monkeypatch):  # noqa: F811
    """Whoever is told that a hold stands can rely on it, whatever is being done at that moment."""
    aged(service)
    made = (await officer("POST", ERASURE)).json()["id"]
    looked, go = asyncio.Event(), asyncio.Event()
    stands = holds.stands

    async def slowly(*arguments):
        there = await stands(*arguments)
        looked.set()
        await go.wait()
        return there

    monkeypatch.setattr(holds, "stands", slowly)
    erasing = asyncio.create_task(second.approve(made))
    await looked.wait()
    holding = asyncio.create_task(officer("POST", "legal-holds", ON_PERSON))
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    await until(lambda: holding.done() or service.sql(waits) == [(1,)])
    assert not holding.done()
    go.set()
    assert (await erasing).status_code == 200
    # By then nobody of that name is left to hold.
    assert (await holding).status_code == 400
