"""The demo programme on its second start: what ended by itself is renewed, what somebody did stays."""

import psycopg
import pytest

from mythos_gate import db, demo
from mythos_gate.authn.api_keys import Caller
from mythos_gate.db import DbRole
from mythos_gate.errors import Misconfigured
from mythos_gate.registry import callers, standing
from mythos_gate.registry.change import Registry
from mythos_gate.terms import Role

pytestmark = pytest.mark.anyio


@pytest.fixture
async def registry(database):
    engine = db.engine(database, DbRole.COMPLIANCE)
    yield Registry(engine, "test.example/log")
    await engine.dispose()


async def test_a_second_start_rescreens_and_lifts_nothing(database, registry):
    await demo.load(registry)
    fresh = (
        "SELECT (SELECT count(*) FROM person_screenings WHERE screened_at > now() - interval '2 days'),"
        " (SELECT count(*) FROM organization_screenings WHERE screened_at > now() - interval '2 days'),"
        " (SELECT count(*) FROM agents WHERE expires_at > now())"
    )
    with psycopg.connect(database, autocommit=True) as owner:
        before = owner.execute(fresh).fetchone()
        owner.execute("ALTER TABLE touched DISABLE TRIGGER stamped")
        for table, column in (
            ("person_screenings", "screened_at"), ("organization_screenings", "screened_at"), ("agents", "expires_at")
        ):  # fmt: skip
            owner.execute(f"UPDATE {table} SET {column} = {column} - interval '1 year'")
        assert owner.execute(fresh).fetchone() == (0, 0, 0)
        ((agent,),) = owner.execute("SELECT id FROM agents WHERE status = 'active' LIMIT 1").fetchall()
        async with registry.change("agent_suspended", "test") as change:
            await standing.suspend_agent(change, agent, None, Caller("test", "test", "", frozenset()))
        await demo.load(registry)
        assert owner.execute(fresh).fetchone() == before
        assert owner.execute("SELECT status FROM agents WHERE id = %s", [agent]).fetchone() == ("suspended",)


async def test_a_database_with_somebodys_keys_is_not_the_demos(registry):
    async with registry.change("key_created", "test") as change:
        await callers.create_key(change, "Ada Officer", [Role.COMPLIANCE], service=False)
    with pytest.raises(Misconfigured, match="not the demo's"):
        await demo.load(registry)
