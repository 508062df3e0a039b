"""Postgres: one pool per role, and the schema's versions."""

import importlib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mythos_gate import embedded
from mythos_gate.errors import Misconfigured
from mythos_gate.settings import Settings, root

OLDEST = 180000


class DbRole(StrEnum):
    """The database roles that the migrations make. The owner alone migrates."""

    SERVICE = "mythos_gate_service"
    READER = "mythos_gate_reader"
    COMPLIANCE = "mythos_gate_compliance"
    SEQUENCER = "mythos_gate_sequencer"
    TENANT_READER = "mythos_gate_tenant_reader"
    TENANT = "mythos_gate_tenant"
    OFFICE = "mythos_gate_office"


SERVING = (DbRole.SERVICE, DbRole.READER, DbRole.COMPLIANCE)
# What a pool's connection becomes for a transaction that is confined to one organization; nobody logs in as these.
CONFINED = {DbRole.READER: DbRole.TENANT_READER, DbRole.COMPLIANCE: DbRole.TENANT}
BECOME = "SELECT set_config('role', %s, true)"
CONFINE = "SELECT set_config('mythos_gate.organization', %s, true), set_config('role', %s, true)"


def owner_url(settings: Settings) -> str:
    """The owner's URL: the one given, or that of the embedded Postgres, which is started."""
    if settings.database_url:
        return settings.database_url
    try:
        return embedded.start(state(settings))
    except (RuntimeError, OSError) as error:
        raise Misconfigured(f"the embedded Postgres does not start: {error}") from error


def state(settings: Settings) -> Path:
    return settings.state or embedded.default_state()


def role_urls(settings: Settings, roles: Sequence[DbRole] = SERVING) -> dict[DbRole, str]:
    """A URL for each of these roles. In production each logs in itself; an owner's login is refused."""
    given: dict[DbRole, str | None] = {role: getattr(settings, _setting(role)) for role in roles}
    if settings.production and (settings.database_url or not all(given.values())):
        needed = ", ".join(f"MYTHOS_GATE_{_setting(role).upper()}" for role in roles)
        raise Misconfigured(f"production needs {needed}, and no DATABASE_URL: it must not hold an owner's login")
    owner = None if all(given.values()) else owner_url(settings)
    return {role: url or str(owner) for role, url in given.items()}


def role_url(settings: Settings, role: DbRole) -> str:
    """The same for one."""
    return role_urls(settings, [role])[role]


def _setting(role: DbRole) -> str:
    return f"{role.removeprefix('mythos_gate_')}_url"


def sqlalchemy_url(url: str) -> str:
    return make_url(re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql+psycopg:", url)).render_as_string(
        hide_password=False
    )


def asyncpg_url(url: str) -> str:
    return re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", url)


def engine(url: str, role: DbRole, pool_size: int = 10, patience: float = 0) -> AsyncEngine:
    """A pool whose every connection acts as `role`, also when the login is the owner's.

    With `patience`, in seconds, nobody waits longer for a connection or a lock, or keeps one without using it.
    """
    made = create_async_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=patience or 30,
        pool_pre_ping=True,  # after a restart of the database the first request must not fail
        hide_parameters=True,  # they may be nationalities
    )
    milliseconds = int(patience * 1000)

    @event.listens_for(made.sync_engine, "connect")
    def become(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET ROLE {role}")
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute(f"SET lock_timeout = {milliseconds}")
        cursor.execute(f"SET idle_in_transaction_session_timeout = {milliseconds}")
        cursor.close()
        connection.commit()

    @event.listens_for(made.sync_engine, "begin")
    def confine(connection: Connection) -> None:
        options = connection.get_execution_options()
        if "organization" in options:
            connection.exec_driver_sql(CONFINE, (options["organization"], CONFINED[role]))
        elif "becoming" in options:
            connection.exec_driver_sql(BECOME, (options["becoming"],))

    return made


def confined(pool: AsyncEngine, organization: str) -> AsyncEngine:
    """The same pool, for transactions in which no other organization than the one of this id is there.

    They begin as another role, whose rows are chosen by policies of the tables. It ends with the transaction, and holds
    against a query that forgets whose records it may read: not against one that sets the role itself.
    """
    return pool.execution_options(organization=organization)


def without_nationality(pool: AsyncEngine) -> AsyncEngine:
    """Compliance's pool, for transactions of those who administer and are not compliance."""
    return pool.execution_options(becoming=DbRole.OFFICE)


async def pool(url: str, role: DbRole, size: int) -> asyncpg.Pool:
    """The same over asyncpg, for the PDP's two statements."""
    return await asyncpg.create_pool(
        asyncpg_url(url), min_size=1, max_size=size, server_settings=_as(role), reset=_nothing_to_reset
    )


async def _nothing_to_reset(_: object) -> None:
    """They leave nothing behind in the session: the default would ask the database once more for each decision."""


async def connect(url: str, role: DbRole) -> asyncpg.Connection:
    return await asyncpg.connect(asyncpg_url(url), server_settings=_as(role))


# The leader's session holds a lock: the server notices within half a minute that a host is gone.
GONE = {
    "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000", "idle_in_transaction_session_timeout": "30000",
}  # fmt: skip


def _as(role: DbRole) -> dict[str, str]:
    # Two fixed statements: planned once (planning the records' takes ten times as long as running it).
    settings = {"role": role.value, "timezone": "UTC", "plan_cache_mode": "force_generic_plan", "jit": "off"}
    return settings | GONE if role is DbRole.SEQUENCER else settings


async def refuse_owners(urls: Mapping[DbRole, str]) -> None:
    """`Misconfigured` if a login could become the tables' owner: then nothing would keep it from the log."""
    query = "SELECT pg_has_role(session_user, relowner, 'MEMBER') FROM pg_class WHERE relname = 'log_entries'"
    for role, url in urls.items():
        try:
            connection = await connect(url, role)
            owner = await connection.fetchval(query)
            await connection.close()
        except asyncpg.PostgresError as error:
            raise Misconfigured(f"the URL of {role} gives no access: {error}") from error
        if owner:
            raise Misconfigured(f"production must not log in as the owner or a superuser: see the URL of {role}")


def _alembic() -> Any:
    """Only whoever migrates waits for it: each worker would."""
    return importlib.import_module("alembic.command")


def upgrade(url: str, target: str = "head") -> None:
    """Bring the schema to `target`; `Misconfigured` if the server is too old or cannot be reached."""
    _with_config(url, lambda config: _alembic().upgrade(config, target))


def downgrade(url: str, target: str) -> None:
    _with_config(url, lambda config: _alembic().downgrade(config, target))


def differences(url: str) -> str | None:
    """What the tables and the migrated schema disagree about, or None."""
    try:
        _with_config(url, lambda config: _alembic().check(config))
    except importlib.import_module("alembic.util").CommandError as error:
        return str(error)
    return None


def _with_config(url: str, run: Any) -> None:
    config = importlib.import_module("alembic.config").Config(root() / "alembic.ini")
    config.set_main_option("script_location", str(root() / "migrations").replace("%", "%%"))
    made = create_engine(sqlalchemy_url(url))
    try:
        with made.connect() as connection:
            _check_version(connection)
            config.attributes["connection"] = connection
            run(config)
            connection.commit()
    except SQLAlchemyError as error:
        raise Misconfigured(f"the database cannot be migrated: {error}") from error
    finally:
        made.dispose()


def _check_version(connection: Connection) -> None:
    found = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    connection.commit()
    if found < OLDEST:
        raise Misconfigured(f"Postgres 18 or later is needed, this server is {found // 10000}")
