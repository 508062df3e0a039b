"""A copied programme is what an import of the same files makes, in every table, with its past and its triggers."""

from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import create_async_engine

from bench import loading
from mythos_gate import db, generate, tables
from mythos_gate.registry import imports
from mythos_gate.registry.change import Registry
from tests import postgres

LOG = {"log_entries", "log_queue", "revision", "revision_stamps", "touched"}
# Random, or of the moment of the load.
LEFT_OUT = {"created_at", "valid", "salt", "commitment", "number"}
NAMES = {
    "authorities": "SELECT id, slug FROM authorities",
    "organizations": "SELECT id, slug FROM organizations",
    "grants": "SELECT id, reference FROM grants",
    **{
        table: f"SELECT t.id, o.slug || '/' || t.external_id FROM {table} t JOIN organizations o ON o.id = organization_id"
        for table in ("people", "agents", "endpoints")
    },
    "nationality_records": "SELECT id, 'record' FROM nationality_records",
}
OBJECTS = """
SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
"""


def contents(url: str, base: datetime) -> dict[str, Counter[Any]]:
    """The rows of every table, ids as names and times as hours since the load."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        names: dict[str, str] = {}
        for query in NAMES.values():
            names |= dict(tuple(row.values()) for row in connection.execute(query))

        def plain(value: Any) -> Any:
            if isinstance(value, datetime):
                return round((value - base).total_seconds() / 3600)
            return names.get(value, value) if isinstance(value, str) else repr(value)

        return {
            table: Counter(
                tuple((column, plain(value)) for column, value in row.items() if column not in LEFT_OUT)
                for row in connection.execute(f'SELECT * FROM "{table}"')
            )
            for table in [*tables.metadata.tables, *tables.history]
            if table not in LOG
        }


def objects(url: str) -> Counter[Any]:
    with psycopg.connect(url) as connection:
        return Counter(connection.execute(OBJECTS).fetchall())


@pytest.mark.anyio
async def test_what_is_copied_is_what_an_import_makes(server: str, template: str, tmp_path: Path):
    folder = tmp_path / "programme"
    generate.write(folder, 12, 300, 5)
    with (
        postgres.scratch(server, postgres.name_of(template)) as imported,
        postgres.scratch(server, postgres.name_of(template)) as copied,
    ):
        bases = []
        for url in (imported, copied):
            bases.append(datetime.now(UTC))
            engine = create_async_engine(db.sqlalchemy_url(url))
            registry = Registry(engine, "test/log")
            if url is imported:
                await loading.activate(registry)
                for kind, path in generate.kinds(folder, imports.KINDS):
                    async with registry.change("imported", "test") as change:
                        await imports.load(change, kind, path.read_bytes(), now=bases[0], relative=True)
            else:
                await loading.fill(registry, folder, seats=False)
                await loading.keep(url)
            await engine.dispose()
        expected, found = contents(imported, bases[0]), contents(copied, bases[1])
        assert sum(expected["people"].values()) == sum(expected["people_history"].values()) == 300
        for table in expected:
            assert found[table] == expected[table], table
        assert objects(copied) == objects(imported)
        assert db.differences(copied) is None
        with psycopg.connect(copied) as connection:
            for salt, commitment, said in connection.execute(
                "SELECT salt, commitment, export_assessment(person_id)::text FROM nationality_commitments"
            ):
                assert sha256(salt + said.encode()).digest() == commitment
            assert connection.execute("SELECT count(*) FROM touched WHERE n IS NULL").fetchone() == (0,)
        for table in loading.TABLES:
            with psycopg.connect(copied) as connection, pytest.raises(psycopg.errors.IntegrityError):
                connection.execute(f"INSERT INTO {table}_history SELECT * FROM {table}_history LIMIT 1")
