"""The revision: which keys a decision rests on, and the bump that ends every administrative transaction."""

from collections.abc import Sequence
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection

from mythos_gate.errors import NotRecorded
from mythos_gate.tables import revision_stamps

GLOBAL = "global"  # models, authorities, stops, directives, policy, data sets, switches
EVERYTHING = "*"  # what a transaction that touched more than 1,000 keys counts as


def key(noun: str, identifier: str) -> str:
    """The key of a record: `person:per_...`."""
    return f"{noun}:{identifier}"


def name_key(noun: str, organization: str, external_id: str) -> str:
    """The key of a name that was looked up, found or not."""
    return f"{noun}-name:{organization}/{external_id}"


async def stamp(connection: SqlConnection, n: int | None = None) -> str | None:
    """`N STAMP` of the change of this number, or of the last: the stamp is random, so no other database has it."""
    column = revision_stamps.c
    query = select(column.n, column.stamp).order_by(column.n.desc()).limit(1)
    found = (await connection.execute(query if n is None else query.where(column.n == n))).one_or_none()
    return None if found is None else f"{found.n} {found.stamp}"


async def commit(connection: SqlConnection, identifier: UUID, kind: str, parts: Sequence[str]) -> None:
    """Bump the revision with its one log entry, and commit. `NotRecorded` if the outcome is not a clear success.

    COMMIT is pipelined behind the bump, so that a process stopped in between cannot hold the revision's lock.
    """
    raw = await connection.get_raw_connection()
    driver: AsyncConnection[object] = raw.driver_connection  # type: ignore[assignment]
    severities: list[str | None] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        severities.append(notice.severity_nonlocalized)

    driver.add_notice_handler(hear)
    try:
        await driver.execute("SET LOCAL idle_in_transaction_session_timeout = '500ms'")
        async with driver.pipeline():
            await driver.execute("SELECT bump_revision(%s, %s, %s)", (identifier, kind, list(parts)))
            await driver.commit()
    except psycopg.errors.IntegrityError as error:
        raise NotRecorded(f"the change was refused: {error.diag.message_primary}") from error
    except (psycopg.Error, OSError) as error:
        raise NotRecorded("the change could not be recorded") from error
    finally:
        driver.remove_notice_handler(hear)
    # Such as a wait for a synchronous standby that was cut short: the change may not last.
    if "WARNING" in severities:
        raise NotRecorded("the change was written, but may not last: look it up in the log before you repeat it")
