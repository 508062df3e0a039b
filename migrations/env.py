"""Alembic's entry: the owner's connection comes from the caller, or from DATABASE_URL."""

import os

from alembic import context
from sqlalchemy import Connection, create_engine

from mythos_gate import db, tables


def is_ours(_object: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:  # noqa: FBT001  alembic calls it
    """Partitions are made by make_log_partitions, not by the metadata."""
    return not (kind == "table" and reflected and (name or "").startswith("log_entries_"))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=tables.metadata, include_object=is_ours, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


if (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    with create_engine(db.sqlalchemy_url(os.environ["DATABASE_URL"])).connect() as own:
        run(own)
