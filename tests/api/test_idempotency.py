"""Idempotency-Key: over every route that writes, what is sent again is answered again, and done once."""

import asyncio
import re

import psycopg
import pytest
from cryptography.exceptions import InvalidTag

from mythos_gate import revision
from mythos_gate.errors import NotRecorded
from mythos_gate.registry import callers, idempotency
from mythos_gate.terms import Role
from tests.api.test_every_route import BY_TWO, CSV, PROVIDED, WRITES, send, world  # noqa: F401  a fixture
from tests.api.test_resources import NEW, Rest, admin, officer, second  # noqa: F401  fixtures
from tests.service import question, until
from tests.test_conventions import INVITED

pytestmark = pytest.mark.anyio
KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
OTHER = {"Idempotency-Key": "another-1"}
STOP = {"scope": "everything"}
PEOPLE = "external_id,employment\nnew,employee\n"


def told(answer):
    return answer.status_code, answer.content, sorted(answer.headers.items())


def left(service):
    return service.sql("SELECT n, (SELECT count(*) FROM log_entries) FROM revision")


# Made anew each time.
ANEW = {("POST", f"/v1/policies/{{identifier}}/{what}") for what in ("checks", "simulations", "replays")}
ANEW |= {("POST", "/v1/simulations")}


@pytest.mark.parametrize("route", WRITES.keys() - ANEW, ids=" ".join)
async def test_a_write_that_is_sent_again_is_done_once(world, route):  # noqa: F811
    method, _ = route
    path, members = await WRITES[route](world)
    rest = world.two if route in BY_TWO else world.one
    await world.service.sequence()  # until it is, no month of the log is dropped
    first = await send(rest, method, path, members, **KEY)
    assert first.status_code in {200, 201, 202}, first.text
    after = left(world.service)
    for _ in range(2):
        assert told(await send(rest, method, path, members, **KEY)) == told(first)
    reused = await rest("POST", "stops", {"scope": "model", "target": "mythos-6"}, **KEY)
    assert (reused.status_code, reused.json()["type"]) == (422, "urn:mythos-gate:problem:key-reused")
    assert left(world.service) == after
    # Nobody else's: a second caller's first request under the same text is its own.
    other = world.one if route in BY_TWO else world.two
    assert (await other("POST", "stops", STOP, **KEY)).status_code == 201
    assert world.service.sql("SELECT count(*) FROM idempotency_keys") == [(2,)]


async def test_every_route_that_writes_says_so_and_no_other(service):
    paths = service.app.openapi()["paths"]
    named = {
        (method.upper(), path): operation
        for path, operations in paths.items()
        for method, operation in operations.items()
        if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
    }
    provided = {route for route in PROVIDED if route[0] != "DELETE"}
    assert named.keys() == WRITES.keys() - ANEW | provided | {("POST", INVITED)}
    for operation in named.values():
        assert {"409", "422"} <= operation["responses"].keys()


async def test_while_the_first_is_under_way_a_second_is_told_so(service, officer):  # noqa: F811
    with psycopg.connect(service.database) as owner:
        owner.execute("LOCK TABLE people IN EXCLUSIVE MODE")
        first = asyncio.create_task(officer("POST", "people", NEW["people"], **KEY))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
        await until(lambda: service.sql(waiting) == [(1,)])
        again = await officer("POST", "people", NEW["people"], **KEY)
        assert (again.status_code, again.json()["type"]) == (409, "urn:mythos-gate:problem:under-way")
        assert again.headers["retry-after"] == "1"
        owner.rollback()
    made = await first
    assert made.status_code == 201
    assert told(await officer("POST", "people", NEW["people"], **KEY)) == told(made)


async def test_of_many_at_once_one_is_done(service, officer):  # noqa: F811
    before = left(service)
    answers = await asyncio.gather(*[officer("POST", "people", NEW["people"], **KEY) for _ in range(8)])
    made = [answer for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in made}) == 1
    assert left(service) == [(n + 1, entries + 1) for n, entries in before]


# --- faults in pairs: it failed, and it happened but we were told that it failed ----------------------------------


async def _refuse(*_):
    raise NotRecorded("the change could not be recorded")


@pytest.mark.parametrize("happened", [False, True], ids=["it failed", "it happened, and we were told that it failed"])
async def test_what_became_of_a_change_is_told_by_sending_it_again(service, officer, monkeypatch, happened):  # noqa: F811
    really, before = revision.commit, left(service)

    async def failing(*arguments):
        if happened:
            await really(*arguments)
        await _refuse()

    monkeypatch.setattr(revision, "commit", failing)
    failed = await service.client.post("/v1/people", json=NEW["people"], headers=officer.headers | KEY)
    monkeypatch.setattr(revision, "commit", really)
    assert failed.status_code == 503
    assert left(service) == [(n + happened, entries + happened) for n, entries in before]
    again = await officer("POST", "people", NEW["people"], **KEY)
    assert (again.status_code, again.json()["external_id"]) == (201, "new")
    assert left(service) == [(n + 1, entries + 1) for n, entries in before]


async def test_an_answer_is_told_again_only_when_its_commit_is_sure(service, officer, monkeypatch):  # noqa: F811
    """The first may have been written and not have reached a standby: the second waits for that, too."""
    made = await officer("POST", "people", NEW["people"], **KEY)
    monkeypatch.setattr(revision, "confirm", _refuse)
    again = await service.client.post("/v1/people", json=NEW["people"], headers=officer.headers | KEY)
    assert again.status_code == 503
    monkeypatch.undo()
    assert told(await officer("POST", "people", NEW["people"], **KEY)) == told(made)


async def test_what_was_refused_is_not_kept(service, officer):  # noqa: F811
    for members, status in (({"external_id": "new"}, 400), (NEW["people"] | {"organization": "nowhere"}, 400)):
        assert (await officer("POST", "people", members, **KEY)).status_code == status
    assert (await officer("POST", "people", NEW["people"], **KEY)).status_code == 201
    assert service.sql("SELECT count(*) FROM idempotency_keys") == [(1,)]


# --- whose it is, and how long ----------------------------------------------------------------------------------


async def test_tenants_share_no_key(service, admin):  # noqa: F811
    stranger = Rest(service, await service.key(Role.ORG_ADMIN, organization="other"))
    answers = [await send(rest, "POST", "people/import", PEOPLE, **KEY) for rest in (admin, stranger, admin, stranger)]
    assert [answer.json()["created"] for answer in answers] == [1] * 4
    assert service.sql("SELECT count(*) FROM people WHERE external_id = 'new'") == [(2,)]


async def test_a_day_later_it_is_another_request(service, officer):  # noqa: F811
    for name in ("people", "agents"):
        first = await send(officer, "POST", f"{name}/import", CSV[name], **{"Idempotency-Key": name})
        assert first.json()["created"] == 1
    service.sql("UPDATE idempotency_keys SET created_at = created_at - interval '24 hours'")
    again = await send(officer, "POST", "people/import", CSV["people"], **{"Idempotency-Key": "people"})
    assert (again.status_code, again.json()["unchanged"]) == (200, 1)
    assert service.sql("SELECT count(*) FROM idempotency_keys") == [(2,)]
    async with service.gate.registry.engine.begin() as connection:
        await idempotency.forget(connection)
    assert service.sql("SELECT count(*) FROM idempotency_keys") == [(1,)]


async def test_whoever_may_not_any_more_is_told_nothing_again(service, officer):  # noqa: F811
    made = await officer("POST", "stops", STOP, **KEY)
    assert made.status_code == 201
    async with service.gate.registry.change("key_revoked", "test") as change:
        await callers.revoke_key(change, officer.headers["Authorization"].split("_")[1])
    again = await service.client.post("/v1/stops", json=STOP, headers=officer.headers | KEY)
    assert again.status_code == 401
    for headers, status in (({}, 401), (service.authorization(Role.AUDITOR), 403)):
        wrong = {"Idempotency-Key": "a b"}  # and who may not is not told what is wrong with it
        assert (await service.client.post("/v1/stops", json=STOP, headers=headers | wrong)).status_code == status


async def test_nothing_of_request_or_answer_can_be_read_in_the_database(service, officer):  # noqa: F811
    name = {"name": "Zebulon Marksson", "email": "z@secret.example"}
    made = await officer("POST", "people", NEW["people"] | name, **KEY)
    assert "Zebulon Marksson" in made.text
    [row] = service.sql("SELECT * FROM idempotency_keys")
    kept = b"".join(each for each in row if isinstance(each, bytes))
    assert len(kept) > 300
    for text in ("Zebulon", "secret.example", "acme", "people", "8e03978e", made.json()["id"]):
        assert text.encode() not in kept
    for role in ("mythos_gate_service", "mythos_gate_reader", "mythos_gate_sequencer"):
        with (
            psycopg.connect(service.database, options=f"-c role={role}") as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT * FROM idempotency_keys")


def test_an_answer_opens_with_its_own_key_and_request_alone():
    slots = idempotency.Slots(b"k" * 32)
    asked = ["POST", "/v1/people", "", None]
    own = slots.of("cal_1", "a", asked, b"{}")
    answer = idempotency.Answer(201, [("content-type", "application/json")], '{"name":"José"}')
    assert own.open(own.seal(answer)) == answer
    others = [
        slots.of("cal_2", "a", asked, b"{}"), slots.of("cal_1", "b", asked, b"{}"),
        slots.of("cal_1", "a", asked, b"{} "), idempotency.Slots(b"j" * 32).of("cal_1", "a", asked, b"{}"),
    ]  # fmt: skip
    for other in others:
        with pytest.raises(InvalidTag):
            other.open(own.seal(answer))
    assert len({slot.id for slot in others} | {own.id}) == 4  # of another body it is the same place


# --- the header -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ('"a b"', 201), ('"a\\"b\\\\"', 201), ("bare-1", 201), ('"' + "x" * 255 + '"', 201), ("x" * 255, 201),
        ("", 400), ('""', 400), ("a b", 400), ('"a', 400), ('a"', 400), ('"a\\b"', 400), ('"a"b"', 400),
        ('"a";x=1', 400), ("a, b", 400), ("caf\xe9", 400), ("x" * 256, 400), ('"' + "x" * 256 + '"', 400),
        ("x" * 5000, 400),
    ],
)  # fmt: skip
async def test_a_key_is_a_short_text(service, officer, sent, status):  # noqa: F811
    headers = [*officer.headers.items(), ("Idempotency-Key", sent.encode("latin-1"))]
    answer = await service.client.post("/v1/stops", json=STOP, headers=headers)
    assert (answer.status_code, re.sub(r":.*", "", answer.json().get("detail", ""))) == (
        status,
        "Idempotency-Key" if status == 400 else "",
    )


async def test_two_keys_are_one_too_many(service, officer):  # noqa: F811
    headers = [*officer.headers.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    answer = await service.client.post("/v1/stops", json=STOP, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (400, "Idempotency-Key: is there twice: send it once")


async def test_with_and_without_quotation_marks_it_is_one_key(service, officer):  # noqa: F811
    first = await officer("POST", "stops", STOP, **{"Idempotency-Key": '"k-1"'})
    assert told(await officer("POST", "stops", STOP, **{"Idempotency-Key": "k-1"})) == told(first)


async def test_decisions_are_made_anew_whatever_the_header_says(service):
    ids = [(await service.ask(question(), **KEY)).headers["x-decision-id"] for _ in range(2)]
    assert len(set(ids)) == 2
    assert service.sql("SELECT count(*) FROM idempotency_keys") == [(0,)]


async def test_another_key_is_another_request(service, officer):  # noqa: F811
    assert (await officer("POST", "people", NEW["people"], **KEY)).status_code == 201
    assert (await officer("POST", "people", NEW["people"], **OTHER)).status_code == 409


async def test_a_condition_is_part_of_the_request(service, officer):  # noqa: F811
    made = await officer("POST", "people", NEW["people"])
    path, change = f"people/{made.json()['id']}", {"employment": "contractor"}
    first = await officer("PATCH", path, change, **{"If-Match": made.headers["etag"]}, **KEY)
    assert first.status_code == 200, first.text
    # Without the key it would be 412: the record has changed, by this very request.
    again = await officer("PATCH", path, change, **{"If-Match": made.headers["etag"]}, **KEY)
    assert told(again) == told(first)
    assert (await officer("PATCH", path, change, **{"If-Match": "*"}, **KEY)).status_code == 422
