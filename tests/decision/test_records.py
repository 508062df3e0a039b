"""What is kept in memory of the records: what a request rests on, and what is let go of."""

import pytest
from sqlalchemy import text

from mythos_gate import revision
from mythos_gate.decision.records import Cache, Pip, _Absent
from mythos_gate.decision.request import Request
from mythos_gate.terms import Role
from tests.service import question

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pip(service) -> Pip:
    for subject in ("acme/us", "acme/ca"):
        assert (await service.ask(question(subject))).status_code == 200
    pip: Pip = service.gate.pdp._pip
    return pip


def asking(subject="acme/us", kind="person", endpoint="ep-1"):
    return Request(kind, subject, "invoke", None, None, "model", "mythos-5", "5.1", endpoint=endpoint)


def identifier(service, table, name):
    return service.sql(f"SELECT id FROM {table} WHERE external_id = %s", name)[0][0]


async def read(service, pip, *requests):
    async with service.gate.pdp._pool.acquire() as connection:
        return await pip.read(connection, [], requests)


async def test_a_decision_rests_on_the_keys_of_all_that_it_read(service, pip):
    await read(service, pip, asking("acme/bot", "agent"))
    keys = pip.compose(None, asking("acme/bot", "agent")).keys
    organization = service.sql("SELECT id FROM organizations WHERE slug = 'acme'")[0][0]
    assert keys == {
        revision.EVERYTHING,
        revision.GLOBAL,
        f"agent:{identifier(service, 'agents', 'bot')}",
        f"person:{identifier(service, 'people', 'us')}",
        f"organization:{organization}",
        f"endpoint:{identifier(service, 'endpoints', 'ep-1')}",
    }


async def test_a_name_that_is_not_on_record_is_a_key(service, pip):
    await read(service, pip, asking("acme/nobody"), asking("nowhere/nobody"))
    organization = service.sql("SELECT id FROM organizations WHERE slug = 'acme'")[0][0]
    assert f"person-name:{organization}/nobody" in pip.compose(None, asking("acme/nobody")).keys
    assert "organization-name:nowhere" in pip.compose(None, asking("nowhere/nobody")).keys


@pytest.mark.parametrize(
    ("statement", "noun"),
    [
        ("UPDATE people SET training_expires = training_expires + interval '1 day' WHERE external_id = 'us'", "person"),
        ("UPDATE organizations SET name = 'A' WHERE slug = 'acme'", "organization"),
        ("UPDATE grants SET seat_cap = 60 WHERE reference = 'V-1'", "organization"),
        ("UPDATE endpoints SET attested = false WHERE external_id = 'ep-1'", "endpoint"),
        ("UPDATE authorities SET name = 'Orrery' WHERE slug = 'orrery'", "global"),
    ],
)
async def test_what_was_touched_is_let_go_of_and_nothing_else(service, pip, statement, noun):
    before = {name: set(cache._records) for name, cache in pip._caches.items()}
    async with service.gate.registry.change("touched", "test") as change:
        await change.connection.execute(text(statement))
    assert {name: set(cache._records) for name, cache in pip._caches.items()} == before  # nobody told the process yet
    async with service.gate.pdp._pool.acquire() as connection:
        await pip.refresh(connection)
    gone = {name: before[name] - set(cache._records) for name, cache in pip._caches.items()}
    assert len(gone[noun]) == 1
    # The kind of a grant's authority stands with the grant, its slug with an officer's key.
    with_it = {"organization", "key"} if noun == "global" else set()
    assert {name for name, keys in gone.items() if keys} - {f"{noun}-name"} == {noun} | with_it


MEANWHILE = {
    "person": "UPDATE people SET status = 'suspended' WHERE external_id = 'us'",
    "organization": "UPDATE authorities SET kind = 'government' WHERE slug = 'orrery'",
    "key": "UPDATE callers SET roles = '{auditor}' WHERE name = 'test gateway'",
    "endpoint": "UPDATE endpoints SET attested = false WHERE external_id = 'ep-1'",
}


@pytest.mark.parametrize("noun", MEANWHILE)
async def test_what_was_touched_while_it_was_read_is_not_kept(service, pip, noun):
    """The answer of the database was on its way when another told of the change."""
    service.forget()
    connection = await service.gate.pdp._pool.acquire()
    key = service.keys[Role.GATEWAY].split("_")[1]

    class Late:
        def __getattr__(self, name):
            return getattr(connection, name)

        async def fetch(self, *arguments):
            rows = await connection.fetch(*arguments)
            async with service.gate.registry.change("touched", "test") as change:
                await change.connection.execute(text(MEANWHILE[noun]))
            async with service.gate.pdp._pool.acquire() as other:
                await pip.refresh(other)
            return rows

    await pip.read(Late(), [key], [asking()])
    await service.gate.pdp._pool.release(connection)
    kept = {
        each for each, cache in pip._caches.items() if any(record is not None for record in cache._records.values())
    }
    assert noun not in kept
    assert kept >= set(MEANWHILE) - {noun} - ({"key"} if noun == "organization" else set())
    assert pip.compose(key, asking()) is None
    async with service.gate.pdp._pool.acquire() as other:
        await pip.read(other, [key], [asking()])
    assert pip.compose(key, asking()) is not None


async def test_a_caller_rests_on_its_key_its_holder_and_where_they_are(service, pip):
    person = identifier(service, "people", "ca")
    key = await service.key("compliance", person="acme/ca")
    assert (await service.client.post("/access/v1/evaluation", json=question(), headers=key)).status_code == 200
    identity = key["Authorization"].split("_")[1]
    assert f"person:{person}" in pip._caches["key"][f"key:{identity}"].keys
    pip._drop(f"person:{person}")
    assert f"key:{identity}" not in pip._caches["key"]


async def test_of_many_asked_at_once_each_is_read_once(service, pip):
    service.forget()
    requests = [asking(name) for name in ("acme/us", "acme/ca", "acme/nobody")]
    asked = []
    async with service.gate.pdp._pool.acquire() as connection:
        connection.add_query_logger(lambda told: asked.append(told.query))
        loaded = await pip.load(lambda: Held(connection), None, requests)
    assert len(asked) == 1
    assert [each.subject_id is not None for each in loaded] == [True, True, False]
    assert len({each.seen for each in loaded}) == 1


class Held:
    def __init__(self, connection):
        self.connection = connection

    async def __aenter__(self):
        return self.connection

    async def __aexit__(self, *_):
        return None


def test_a_cache_holds_so_many_and_the_longest_unused_leave_first():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache["a"] == 1
    cache.put("c", 3)
    assert (len(cache), "a" in cache, "b" in cache) == (2, True, False)
    with pytest.raises(_Absent):
        cache["b"]


async def test_a_full_cache_decides_all_the_same(service, pip):
    for cache in pip._caches.values():
        cache._most = 2
    service.forget()
    await service.load(people="organization,external_id,employment\nacme,new,employee\n")
    for subject, decision in (("us", True), ("ca", True), ("new", False), ("us", True)):
        assert (await service.ask(question(f"acme/{subject}"))).json()["decision"] is decision
    assert len(pip._caches["person"]) == 2


@pytest.mark.parametrize(("used", "told"), [(49, False), (50, True)])
async def test_a_grant_that_fills_up_is_told_to_its_organization(service, pip, used, told):
    async with service.gate.registry.change("touched", "test") as change:
        await change.connection.execute(
            text("UPDATE seat_counts SET used = :used FROM grants g WHERE g.id = grant_id AND g.reference = 'V-1'"),
            {"used": used},
        )
    organization = service.sql("SELECT id FROM organizations WHERE slug = 'acme'")[0][0]
    last = service.sql("SELECT key FROM touched WHERE n = (SELECT n FROM revision)")
    assert last == [(f"organization:{organization}",)] * told
