"""Timestamps of heads by an authority, and how the sequencer sees what an anchor would add to."""

from alembic import op

revision = "0007"
down_revision = "0006"

UP = """
CREATE TABLE log_timestamps (
  size bigint CONSTRAINT pk_log_timestamps PRIMARY KEY,
  token bytea NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON log_timestamps FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON log_timestamps FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE log_timestamps ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE log_timestamps ENABLE ALWAYS TRIGGER no_truncate;
GRANT SELECT, INSERT (size, token) ON log_timestamps TO mythos_gate_sequencer;
GRANT SELECT ON log_timestamps TO mythos_gate_reader;
GRANT SELECT (type) ON log_entries TO mythos_gate_sequencer;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute("DROP TABLE log_timestamps; REVOKE SELECT (type) ON log_entries FROM mythos_gate_sequencer")
