"""Functions look for a table in temporary schemas last; what never enters the tree keeps no month from being dropped.

Unless it is named, pg_temp is searched before all else: a login that may make a temporary `log_queue` could have its
entries queued there, by a function that runs with its owner's rights (PostgreSQL, CREATE FUNCTION, "Writing SECURITY
DEFINER Functions Safely").
"""

from alembic import op

revision = "0009"
down_revision = "0008"

FUNCTIONS = [
    "bump_revision", "enqueue", "erase_alias", "erase_own", "erase_person", "export_assessment", "grow_head",
    "grow_note", "grow_tile", "keep", "last_change", "last_decision", "log_extent", "log_partitions_ahead",
    "make_log_partitions", "prune_log", "prune_touched", "refuse_change", "refuse_unstamped", "touch", "touch_full",
    "touch_keys",
]  # fmt: skip
SEARCHING = """
DO $$
DECLARE each regprocedure;
BEGIN
  FOR each IN
    SELECT oid FROM pg_proc
    WHERE pronamespace = quote_ident(current_schema())::regnamespace AND proname = ANY (ARRAY[{names}])
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = {path}', each, current_schema());
  END LOOP;
END $$;
"""
EXTENT = """
CREATE OR REPLACE FUNCTION log_extent(before date, OUT entries bigint, OUT first bigint, OUT last bigint, OUT unsigned bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT count(*), min(l.index), max(l.index),
    count(*) FILTER (WHERE {unplaced} OR l.index >= (SELECT coalesce(max(size), 0) FROM log_checkpoints))
  FROM log_entries e LEFT JOIN log_leaves l ON l.id = e.id{further}
  WHERE e.at < before::timestamp AT TIME ZONE 'UTC'
$$;
"""


def _run(sql: str) -> None:
    # Past SQLAlchemy, which would take percent signs and colons for parameters.
    op.get_bind().connection.cursor().execute(sql)


def _search(path: str) -> None:
    _run(SEARCHING.format(names=", ".join(f"'{name}'" for name in FUNCTIONS), path=path))


def upgrade() -> None:
    refused = " AND l.at = e.at LEFT JOIN log_queue q ON q.entry_id = e.id AND q.at = e.at AND q.refused IS NOT NULL"
    _run(EXTENT.format(unplaced="(l.index IS NULL AND q.id IS NULL)", further=refused))
    _search("%I, pg_temp")


def downgrade() -> None:
    _run(EXTENT.format(unplaced="l.index IS NULL", further=""))
    _search("%I")
