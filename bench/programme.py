"""The generated programme in a database of the embedded Postgres: loaded once, copied for each run."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from bench import loading
from bench.loading import ACTOR
from mythos_gate import db, generate
from mythos_gate.registry.change import Registry
from mythos_gate.settings import root

ORIGIN = "bench.local/log"
SEED = 1
# Credentials and reviews end within days: an older template is another programme.
LONGEST = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Size:
    organizations: int
    people: int

    @property
    def name(self) -> str:
        return f"bench_{self.organizations}_{self.people}"


async def template(owner: str, size: Size, folder: Path) -> str:
    """The name of a loaded database to copy; made, with files below `folder`, unless it is there."""
    name = f"{size.name}_{_fingerprint(size)}"
    with psycopg.connect(owner, autocommit=True) as connection:
        found = _databases(connection, f"{size.name}_")
        loaded = found.pop(name, None)
        if loaded is not None and datetime.now(UTC) - loaded < LONGEST:
            return name
        for other in [*found, name]:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(other)))
        making = f"{size.name}_making"
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(making)))
        await _load(url_of(owner, making), size, folder)
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(making), sql.Identifier(name))
        )
        told = json.dumps({"loaded": datetime.now(UTC).isoformat()})
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(told)))
    return name


def fresh(owner: str, name: str, who: str) -> str:
    """The URL of a copy of the template, in the place of the last run's."""
    copy = f"{name.rpartition('_')[0]}_{who}"
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(copy)))
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(copy), sql.Identifier(name)
            )
        )
    return url_of(owner, copy)


def drop(owner: str, url: str) -> None:
    with psycopg.connect(owner, autocommit=True) as connection:
        name = make_url(url).database or ""
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def url_of(owner: str, name: str) -> str:
    return make_url(owner).set(database=name).render_as_string(hide_password=False)


async def refresh(url: str, loaded: datetime, people: Sequence[str], agents: Sequence[str]) -> None:
    """Screen these people again and renew these agents' credentials, as long after the first time as we are now."""
    engine = create_async_engine(db.sqlalchemy_url(url))
    later = {"later": datetime.now(UTC) - loaded}
    try:
        async with Registry(engine, ORIGIN).change("imported", ACTOR) as change:
            for statement, ids in ((RESCREEN, people), (RENEW, agents)):
                await change.connection.execute(text(statement), later | {"ids": list(ids)})
            await change.connection.execute(text(REVIEW), later)
    finally:
        await engine.dispose()


RESCREEN = "UPDATE person_screenings SET screened_at = screened_at + :later WHERE person_id = ANY (:ids)"
RENEW = "UPDATE agents SET expires_at = expires_at + :later WHERE id = ANY (:ids)"
REVIEW = "UPDATE data_sets SET reviewed_at = reviewed_at + :later"


def loaded_at(owner: str, name: str) -> datetime:
    with psycopg.connect(owner, autocommit=True) as connection:
        return _databases(connection, name)[name]


def _databases(connection: psycopg.Connection[Any], prefix: str) -> dict[str, datetime]:
    """Databases whose name begins so, with the time at which each was loaded; those half made as of long ago."""
    query = "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE starts_with(datname, %s)"
    never = datetime.fromtimestamp(0, UTC).isoformat()
    return {
        name: datetime.fromisoformat(json.loads(told)["loaded"] if told else never)
        for name, told in connection.execute(query, [prefix])
    }


def _fingerprint(size: Size) -> str:
    """Of all that a template is made from."""
    sources = [
        Path(generate.__file__),
        Path(loading.__file__),
        *sorted((root() / "migrations" / "versions").glob("*.py")),
        *sorted((root() / "policies").glob("*.*")),
    ]
    digest = hashlib.sha256(f"{size} {SEED}".encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


# --- loading --------------------------------------------------------------------------------------------------


async def _load(url: str, size: Size, folder: Path) -> None:
    """Migrate, put policy and data in force, import the small files, copy the large ones."""
    db.upgrade(url)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        generate.write(folder, size.organizations, size.people, SEED)
        engine = create_async_engine(db.sqlalchemy_url(url))
        try:
            await loading.fill(Registry(engine, ORIGIN), folder, seats=True)
        finally:
            await engine.dispose()
        await loading.keep(url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
