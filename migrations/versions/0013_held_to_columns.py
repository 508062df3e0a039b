"""The sequencer holds a body to the columns beside it; an entry of the registry is JSON; what was pruned stays told.

The row's policy looks at the column `writer` alone: a body that says something else would pass for another writer's.
"""

from alembic import op

revision = "0013"
down_revision = "0012"

BUMP = """
CREATE OR REPLACE FUNCTION bump_revision(entry_id uuid, entry_type text, parts text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
  bumped revision%ROWTYPE;
  mine text := pg_current_xact_id()::text;
  at timestamptz;
  entry bytea;
  hash bytea;
BEGIN
  IF cardinality(parts) IS DISTINCT FROM 4 THEN
    RAISE EXCEPTION 'a registry entry comes in four parts';
  END IF;
  UPDATE revision SET n = n + 1 RETURNING * INTO bumped;
  INSERT INTO revision_stamps (n) VALUES (bumped.n);
  UPDATE touched SET n = bumped.n WHERE xid = mine AND n IS NULL;
  at := clock_timestamp();
  entry := convert_to(
    parts[1] || to_char(at AT TIME ZONE 'UTC', '"\\""YYYY-MM-DD"T"HH24:MI:SS.US"Z\\""') || parts[2] || bumped.n
    || parts[3] || coalesce('"' || encode(bumped.leaf, 'hex') || '"', 'null') || parts[4], 'UTF8');
{check}  hash := sha256('\\x00'::bytea || entry);
  INSERT INTO log_entries (id, at, type, writer, n, leaf, body)
  VALUES (entry_id, at, entry_type, 'registry', bumped.n, hash, entry);
  UPDATE revision SET leaf = hash;
  RETURN bumped.n;
END $$;
"""
CHECK = """  IF (SELECT ROW(said ->> 'id', said ->> 'type', said ->> 'writer')
        IS DISTINCT FROM ROW(entry_id::text, entry_type, 'registry')
      FROM (SELECT convert_from(entry, 'UTF8')::jsonb AS said) AS body) THEN
    RAISE EXCEPTION 'an entry says what it is' USING ERRCODE = 'check_violation';
  END IF;
"""
FURTHER = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON log_prunes FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON log_prunes FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE log_prunes ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE log_prunes ENABLE ALWAYS TRIGGER no_truncate;
GRANT SELECT (type, writer, n) ON log_entries TO mythos_gate_sequencer;
-- For what a clock that is a little behind writes in the first moments of the month in which the log begins.
SELECT make_log_partitions((current_date - interval '1 month')::date, 1);
"""
BACK = """
REVOKE SELECT (type, writer, n) ON log_entries FROM mythos_gate_sequencer;
DROP TRIGGER append_only ON log_prunes;
DROP TRIGGER no_truncate ON log_prunes;
"""


def _run(sql: str) -> list[tuple[str, ...]]:
    # Past SQLAlchemy, which would take percent signs and colons for parameters.
    cursor = op.get_bind().connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall()) if cursor.description else []


def _bump(check: str) -> None:
    schema = _run("SELECT quote_ident(current_schema())")[0][0]
    _run(BUMP.replace("{schema}", schema).replace("{check}", check))


def upgrade() -> None:
    _bump(CHECK)
    _run(FURTHER)


def downgrade() -> None:
    _run(BACK)
    _bump("")
