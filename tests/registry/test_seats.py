"""Seats: all that are wanted or none, and never more than the cap."""

import asyncio

import psycopg
import pytest

from mythos_gate.errors import Conflict
from mythos_gate.registry import seats
from tests.service import until

pytestmark = pytest.mark.anyio


def record(service, table, column, name):
    ((identifier,),) = service.sql(f"SELECT id FROM {table} WHERE {column} = %s", name)
    return identifier


async def claim(service, person, *grants):
    async with service.gate.registry.change("seat_claimed", "test") as change:
        await seats.claim(change, person, grants)


@pytest.fixture
def us(service):
    return record(service, "people", "external_id", "us")


@pytest.fixture
def ca(service):
    return record(service, "people", "external_id", "ca")


@pytest.fixture
def grants(service):
    """One seat is left under the government's."""
    service.sql("UPDATE seat_counts SET used = 39 FROM grants g WHERE g.id = grant_id AND g.reference = 'G-1'")
    return [record(service, "grants", "reference", reference) for reference in ("V-1", "G-1")]


async def test_without_a_free_seat_under_each_none_is_held(service, us, ca, grants):
    await claim(service, us, *grants)
    with pytest.raises(Conflict, match="no free seat"):
        await claim(service, ca, *grants)
    assert service.sql("SELECT DISTINCT person_id FROM seats") == [(us,)]
    assert service.sql("SELECT used FROM seat_counts ORDER BY used") == [(1,), (40,)]


async def test_a_seat_that_is_held_is_not_claimed_again(service, us, grants):
    for _ in range(2):
        await claim(service, us, *grants)
    assert service.sql("SELECT used FROM seat_counts ORDER BY used") == [(1,), (40,)]


async def test_of_two_who_claim_the_last_seat_at_once_one_gets_it(service, ca, grants):
    waiting = (
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    service.sql("ALTER TABLE seat_counts DISABLE TRIGGER ALL")
    with psycopg.connect(service.database) as first:
        first.execute("SELECT FROM seat_counts WHERE grant_id = %s FOR UPDATE", [grants[1]])
        second = asyncio.create_task(claim(service, ca, grants[1]))
        await until(lambda: service.sql(waiting) == [(True,)])
        first.execute("UPDATE seat_counts SET used = 40 WHERE grant_id = %s", [grants[1]])
        first.commit()
    with pytest.raises(Conflict):
        await second
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


async def test_whoever_leaves_takes_one_from_each_count(service, us, ca):
    grant = record(service, "grants", "reference", "V-1")
    for person in (us, ca):
        await claim(service, person, grant)
    async with service.gate.registry.change("person_suspended", "test") as change:
        await seats.release(change.connection, [us, ca])
    assert service.sql("SELECT sum(used), (SELECT count(*) FROM seats) FROM seat_counts") == [(0, 0)]
