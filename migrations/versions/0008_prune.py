"""Retention: months of the log whose time is over are dropped, by two officers; places and tiles stay."""

from alembic import op

revision = "0008"
down_revision = "0007"

ACTIONS = "'create', 'change', 'activate', 'lift', 'replace', 'adjudicate', 'erase'"
FUNCTIONS = """
CREATE TABLE log_prunes (
  before date CONSTRAINT pk_log_prunes PRIMARY KEY,
  entries bigint NOT NULL,
  first bigint,
  last bigint,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What of the log was written before: how many entries, at which places, and how many that no signed head covers.
CREATE FUNCTION log_extent(before date, OUT entries bigint, OUT first bigint, OUT last bigint, OUT unsigned bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT count(*), min(l.index), max(l.index),
    count(*) FILTER (WHERE l.index IS NULL OR l.index >= (SELECT coalesce(max(size), 0) FROM log_checkpoints))
  FROM log_entries e LEFT JOIN log_leaves l ON l.id = e.id WHERE e.at < before::timestamp AT TIME ZONE 'UTC'
$$;

-- Whole months. Writers wait for the lock, so it waits for nobody longer than they can.
CREATE FUNCTION prune_log(before date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
SET lock_timeout = '1s' AS $$
DECLARE month text;
BEGIN
  IF before <> date_trunc('month', before) OR before > now() - interval '10 years' THEN
    RAISE EXCEPTION 'the log is kept for ten years' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO log_prunes (before, entries, first, last)
  SELECT prune_log.before, e.entries, e.first, e.last FROM log_extent(prune_log.before) e;
  FOR month IN
    SELECT format('%I', relname) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'log_entries'::regclass AND relname < 'log_entries_' || to_char(before, 'YYYY_MM')
  LOOP
    EXECUTE 'DROP TABLE ' || month;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION log_extent, prune_log FROM PUBLIC;
GRANT EXECUTE ON FUNCTION log_extent, prune_log TO mythos_gate_compliance;
GRANT SELECT ON log_prunes TO mythos_gate_reader;
"""


def upgrade() -> None:
    _check(f"action IN ({ACTIONS}, 'prune')")
    # Past SQLAlchemy, which would take percent signs and colons for parameters.
    op.get_bind().connection.cursor().execute(FUNCTIONS)


def _check(condition: str) -> None:
    op.drop_constraint(op.f("ck_proposals_action"), "proposals", type_="check")
    op.create_check_constraint(op.f("ck_proposals_action"), "proposals", condition)


def downgrade() -> None:
    op.execute("DROP FUNCTION prune_log, log_extent; DROP TABLE log_prunes")
    _check(f"action IN ({ACTIONS})")
