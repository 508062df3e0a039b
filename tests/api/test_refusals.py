"""Refused administrative calls stand in the log: who was known at once, the unknown as a number a minute."""

import pytest

from mythos_gate.errors import NotRecorded
from mythos_gate.terms import Role
from tests.api.test_lockout import wrong
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import Service, question

pytestmark = pytest.mark.anyio


async def refused(service):
    return [entry["body"] for entry in await service.entries() if entry["body"]["type"] == "refused"]


def shown(entry):
    return {name: entry[name] for name in ("route", "status", "count", "code") if name in entry}


async def test_the_first_is_told_at_once_and_those_that_follow_once_a_minute(service):
    auditor = Rest(service, service.authorization(Role.AUDITOR))
    first = await auditor("POST", "stops", {"scope": "everything"})
    assert first.status_code == 403
    for _ in range(4):
        await auditor("POST", "stops", {"scope": "everything"})
    await auditor("POST", "people/acme/us/suspend")
    stop, suspend = "POST /v1/stops", "POST /v1/people/{person}/suspend"
    told = await refused(service)
    assert [shown(each) for each in told] == [{"route": r, "status": 403, "count": 1} for r in (stop, suspend)]
    assert {(each["actor"], each["key"]) for each in told} == set(
        service.sql("SELECT caller_id, id FROM api_keys WHERE id = %s", service.keys[Role.AUDITOR].split("_")[1])
    )
    await service.gate.refusals.flush(service.gate.log)
    assert [shown(each) for each in (await refused(service))[2:]] == [{"route": stop, "status": 403, "count": 4}]
    await service.gate.refusals.flush(service.gate.log)
    assert len(await refused(service)) == 3


async def test_what_a_second_look_refuses_is_told_with_its_code(service, officer):  # noqa: F811
    made = await officer("PATCH", "organizations/acme", {"name": "Acme Inc"}, **{"If-Match": "*"})
    own = await officer.approve(made.json()["id"])
    assert own.json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    told = {
        "route": "POST /v1/change-requests/{identifier}/approve",
        "status": 403,
        "count": 1,
        "code": own.json()["code"],
    }
    assert [shown(each) for each in await refused(service)] == [told]


async def test_of_the_unknown_a_minute_tells_how_many(service):
    for headers in ({}, wrong("f" * 16), {"Authorization": "Basic eDp5"}):
        assert (await service.client.get("/v1/people/acme/us", headers=headers)).status_code == 401
    assert await refused(service) == []
    await service.gate.refusals.flush(service.gate.log)
    (told,) = await refused(service)
    assert (shown(told), "actor" in told) == ({"status": 401, "count": 3}, False)


async def test_decisions_that_are_not_answered_leave_none(service):
    for headers, status in (({}, 401), (service.authorization(Role.AUDITOR), 403)):
        for path in ("/access/v1/evaluation", "/access/v1/search/subject"):
            assert (await service.client.post(path, json=question(), headers=headers)).status_code == status
    await service.gate.refusals.flush(service.gate.log)
    assert await refused(service) == []


async def test_what_cannot_be_recorded_is_no_answer(service, monkeypatch):
    async def fail(*_):
        raise NotRecorded("the entry could not be recorded")

    with monkeypatch.context() as broken:
        broken.setattr(type(service.gate.log), "note", fail)
        answer = await service.post("/v1/stops", Role.AUDITOR, {"scope": "everything"})
    assert answer.status_code == 503
    # And it does not count as told.
    assert (await service.post("/v1/stops", Role.AUDITOR, {"scope": "everything"})).status_code == 403
    assert len(await refused(service)) == 1


async def test_a_service_that_stops_tells_the_rest(service, tmp_path):
    async with Service.running(service.database, tmp_path / "short") as short:
        assert (await short.client.get("/v1/stops")).status_code == 401
    assert [shown(each) for each in await refused(service)] == [{"status": 401, "count": 1}]
