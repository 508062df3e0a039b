"""Idempotency keys: answers that were given to changes, kept for a day under seal."""

from alembic import op

revision = "0010"
down_revision = "0009"

UP = """
CREATE TABLE idempotency_keys (
  id bytea CONSTRAINT pk_idempotency_keys PRIMARY KEY,
  request bytea NOT NULL,
  answer bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  told_at timestamptz,
  CONSTRAINT ck_idempotency_keys_id CHECK (octet_length(id) = 32),
  CONSTRAINT ck_idempotency_keys_request CHECK (octet_length(request) = 32)
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO mythos_gate_compliance;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute("DROP TABLE idempotency_keys")
