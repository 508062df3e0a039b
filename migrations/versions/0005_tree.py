"""The tree over the log: the queue, places, tiles, head and checkpoints, and the sequencer's role."""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = """
CREATE TABLE log_queue (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_log_queue PRIMARY KEY,
  entry_id uuid NOT NULL,
  at timestamptz NOT NULL,
  refused text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
CREATE TABLE log_leaves (
  index bigint CONSTRAINT pk_log_leaves PRIMARY KEY,
  id uuid NOT NULL CONSTRAINT uq_log_leaves_id UNIQUE,
  at timestamptz NOT NULL
);
CREATE TABLE log_tiles (
  level smallint NOT NULL,
  index bigint NOT NULL,
  hashes bytea NOT NULL,
  CONSTRAINT pk_log_tiles PRIMARY KEY (level, index),
  CONSTRAINT ck_log_tiles_hashes CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0)
);
ALTER TABLE log_tiles ALTER hashes SET STORAGE EXTERNAL;
CREATE TABLE log_head (
  one boolean NOT NULL DEFAULT true CONSTRAINT pk_log_head PRIMARY KEY CONSTRAINT ck_log_head_one CHECK (one),
  size bigint NOT NULL,
  root bytea NOT NULL,
  CONSTRAINT ck_log_head_root CHECK (octet_length(root) = 32)
);
INSERT INTO log_head (size, root) VALUES (0, sha256(''));
CREATE TABLE log_checkpoints (
  size bigint CONSTRAINT pk_log_checkpoints PRIMARY KEY,
  note bytea NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE log_keys (
  verifier text CONSTRAINT pk_log_keys PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  retired_at timestamptz
);
"""

FUNCTIONS = """
-- Whoever wrote the entry, in the same transaction: none can be forgotten, and none that rolled back is left.
CREATE FUNCTION enqueue() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO log_queue (entry_id, at) SELECT id, at FROM new_rows ORDER BY writer, n;
  RETURN NULL;
END $$;
CREATE TRIGGER enqueue AFTER INSERT ON log_entries REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION enqueue();
ALTER TABLE log_entries ENABLE ALWAYS TRIGGER enqueue;
INSERT INTO log_queue (entry_id, at) SELECT id, at FROM log_entries ORDER BY writer, n;

-- A tile fills up, the head and its signed states grow; nothing of them is taken back.
CREATE FUNCTION grow_tile() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF (NEW.level, NEW.index) IS DISTINCT FROM (OLD.level, OLD.index)
    OR substr(NEW.hashes, 1, octet_length(OLD.hashes)) <> OLD.hashes THEN
    RAISE EXCEPTION 'a tile only grows' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION grow_head() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NEW.size <= OLD.size THEN
    RAISE EXCEPTION 'the log only grows' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION grow_note() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NEW.size <> OLD.size OR substr(NEW.note, 1, octet_length(OLD.note)) <> OLD.note THEN
    RAISE EXCEPTION 'a checkpoint only gains signatures' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER grow BEFORE UPDATE ON log_checkpoints FOR EACH ROW EXECUTE FUNCTION grow_note();
ALTER TABLE log_checkpoints ENABLE ALWAYS TRIGGER grow;
CREATE TRIGGER grow BEFORE UPDATE ON log_tiles FOR EACH ROW EXECUTE FUNCTION grow_tile();
CREATE TRIGGER grow BEFORE UPDATE ON log_head FOR EACH ROW EXECUTE FUNCTION grow_head();
ALTER TABLE log_tiles ENABLE ALWAYS TRIGGER grow;
ALTER TABLE log_head ENABLE ALWAYS TRIGGER grow;
"""

# Table -> what is never done to it.
APPEND_ONLY = {
    "log_leaves": "UPDATE OR DELETE",
    "log_checkpoints": "DELETE",
    "log_tiles": "DELETE",
    "log_head": "INSERT OR DELETE",
}

ROLE = """
DO $$
BEGIN
  -- Roles belong to the cluster: another database, migrated at the same time, may make it first.
  PERFORM pg_advisory_xact_lock(hashtext('mythos_gate roles'));
  BEGIN
    CREATE ROLE mythos_gate_sequencer NOLOGIN;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
  END;
  IF NOT pg_has_role(current_user, 'mythos_gate_sequencer', 'SET') THEN
    GRANT mythos_gate_sequencer TO CURRENT_USER;
  END IF;
END $$;
"""

GRANTS = """
REVOKE ALL ON FUNCTION enqueue, grow_note, grow_tile, grow_head FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO mythos_gate_sequencer;
GRANT SELECT (id, at, leaf, body) ON log_entries TO mythos_gate_sequencer;
CREATE POLICY sequencer ON log_entries FOR SELECT TO mythos_gate_sequencer USING (true);
GRANT SELECT, DELETE, UPDATE (refused) ON log_queue TO mythos_gate_sequencer;
GRANT SELECT, INSERT (index, id, at) ON log_leaves TO mythos_gate_sequencer;
GRANT SELECT, INSERT (level, index, hashes), UPDATE (hashes) ON log_tiles TO mythos_gate_sequencer;
GRANT SELECT, UPDATE (size, root) ON log_head TO mythos_gate_sequencer;
GRANT SELECT, INSERT (size, note), UPDATE (note) ON log_checkpoints TO mythos_gate_sequencer;
GRANT SELECT ON log_queue, log_leaves, log_tiles, log_head, log_checkpoints, log_keys TO mythos_gate_reader;
GRANT SELECT, INSERT (verifier), UPDATE (retired_at) ON log_keys TO mythos_gate_compliance;
"""


def run(sql: str) -> list[tuple[str, ...]]:
    """Past SQLAlchemy, which would take every percent sign for a parameter."""
    cursor = op.get_bind().connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall()) if cursor.description else []


def upgrade() -> None:
    run(TABLES + FUNCTIONS)
    for table, never in APPEND_ONLY.items():
        run(f"CREATE TRIGGER append_only BEFORE {never} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()")
        run(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        run(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only")
        run(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_truncate")
    run(ROLE)
    run(GRANTS.format(schema=run("SELECT quote_ident(current_schema())")[0][0]))


def downgrade() -> None:
    run(
        "DROP TRIGGER enqueue ON log_entries; DROP POLICY sequencer ON log_entries;"
        "REVOKE ALL ON log_entries FROM mythos_gate_sequencer;"
        "DROP TABLE log_queue, log_leaves, log_tiles, log_head, log_checkpoints, log_keys;"
        "DROP FUNCTION enqueue, grow_note, grow_tile, grow_head"
    )
