"""What a policy goes through before it decides: its author and reason, reports, approvals by several, rollouts."""

from alembic import op

revision = "0015"
down_revision = "0014"

TABLES = """
ALTER TABLE policy_revisions ADD author text, ADD reason text, ADD parent text,
  ADD CONSTRAINT fk_policy_revisions_parent FOREIGN KEY (parent) REFERENCES policy_revisions (sha256);
CREATE TABLE policy_reports (
  id text CONSTRAINT pk_policy_reports PRIMARY KEY,
  policy text NOT NULL,
  kind text NOT NULL,
  base text,
  data_set text,
  passed boolean NOT NULL,
  needs jsonb NOT NULL,
  figures jsonb NOT NULL,
  sha256 text NOT NULL,
  made_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT fk_policy_reports_policy FOREIGN KEY (policy) REFERENCES policy_revisions (sha256),
  CONSTRAINT ck_policy_reports_kind CHECK (kind IN ('checks', 'impact', 'traffic'))
);
CREATE INDEX ix_policy_reports_policy ON policy_reports (policy);
-- What names people, or counts them by nationality: compliance alone reads it.
CREATE TABLE policy_report_contents (
  report_id text CONSTRAINT pk_policy_report_contents PRIMARY KEY,
  members jsonb NOT NULL,
  CONSTRAINT fk_policy_report_contents_report_id FOREIGN KEY (report_id) REFERENCES policy_reports (id)
);
CREATE TABLE change_request_approvals (
  change_request_id text,
  approved_by text,
  person_id text NOT NULL,
  authority_id text,
  acknowledged integer NOT NULL,
  reason text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT pk_change_request_approvals PRIMARY KEY (change_request_id, approved_by),
  CONSTRAINT uq_change_request_approvals_person UNIQUE (change_request_id, person_id),
  CONSTRAINT fk_change_request_approvals_change_request_id
    FOREIGN KEY (change_request_id) REFERENCES change_requests (id),
  CONSTRAINT fk_change_request_approvals_approved_by FOREIGN KEY (approved_by) REFERENCES callers (id),
  CONSTRAINT fk_change_request_approvals_person_id FOREIGN KEY (person_id) REFERENCES people (id),
  CONSTRAINT fk_change_request_approvals_authority_id FOREIGN KEY (authority_id) REFERENCES authorities (id)
);
CREATE TABLE rollouts (
  id text CONSTRAINT pk_rollouts PRIMARY KEY,
  policy_revision integer NOT NULL,
  starts_at timestamptz NOT NULL,
  percent smallint NOT NULL,
  organizations text[],
  halt_after integer,
  outcome text,
  ended_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT fk_rollouts_policy_revision FOREIGN KEY (policy_revision) REFERENCES policy_revisions (number),
  CONSTRAINT ck_rollouts_percent CHECK (percent BETWEEN 0 AND 100),
  CONSTRAINT ck_rollouts_halt_after CHECK (halt_after > 0),
  CONSTRAINT ck_rollouts_outcome CHECK (outcome IN ('completed', 'halted', 'ended', 'superseded')),
  CONSTRAINT ck_rollouts_ended CHECK ((outcome IS NULL) = (ended_at IS NULL)),
  CONSTRAINT ck_rollouts_starts_at_finite CHECK (isfinite(starts_at)),
  CONSTRAINT ck_rollouts_ended_at_finite CHECK (isfinite(ended_at)),
  CONSTRAINT ck_rollouts_created_at_finite CHECK (isfinite(created_at))
);
-- One at a time: beside the policy in force there is at most one other.
CREATE UNIQUE INDEX uq_rollouts_open ON rollouts ((true)) WHERE ended_at IS NULL;
CREATE TABLE rollouts_history (LIKE rollouts, valid tstzrange NOT NULL);
ALTER TABLE rollouts_history ALTER policy_revision DROP NOT NULL, ALTER starts_at DROP NOT NULL,
  ALTER percent DROP NOT NULL, ALTER created_at DROP NOT NULL,
  ADD CONSTRAINT pk_rollouts_history PRIMARY KEY (id, valid WITHOUT OVERLAPS);
CREATE UNIQUE INDEX ix_rollouts_history_open ON rollouts_history (id) WHERE upper_inf(valid);
CREATE TABLE policy_differences (
  rollout_id text,
  vector text,
  before text,
  after text,
  facts jsonb NOT NULL,
  decisions bigint NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  CONSTRAINT pk_policy_differences PRIMARY KEY (rollout_id, vector, before, after),
  CONSTRAINT fk_policy_differences_rollout_id FOREIGN KEY (rollout_id) REFERENCES rollouts (id)
);
"""
APPEND_ONLY = ("policy_reports", "policy_report_contents", "change_request_approvals")
PROTECT = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_truncate;
"""
TRIGGER = """
CREATE TRIGGER {name}_insert AFTER INSERT ON rollouts REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION {name}({argument});
CREATE TRIGGER {name}_update AFTER UPDATE ON rollouts REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION {name}({argument});
CREATE TRIGGER {name}_delete AFTER DELETE ON rollouts REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION {name}({argument});
ALTER TABLE rollouts ENABLE ALWAYS TRIGGER {name}_insert;
ALTER TABLE rollouts ENABLE ALWAYS TRIGGER {name}_update;
ALTER TABLE rollouts ENABLE ALWAYS TRIGGER {name}_delete;
"""
# Nothing of it is an organization's.
APART = """
ALTER TABLE change_request_approvals ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON change_request_approvals
  TO mythos_gate_service, mythos_gate_reader, mythos_gate_compliance, mythos_gate_office USING (true) WITH CHECK (true);
"""
OFFICES = "mythos_gate_compliance, mythos_gate_office"
GRANTS = f"""
GRANT SELECT, INSERT ON policy_reports, change_request_approvals TO {OFFICES};
GRANT SELECT, INSERT ON policy_report_contents TO mythos_gate_compliance;
GRANT SELECT, INSERT, UPDATE (outcome, ended_at) ON rollouts TO {OFFICES};
GRANT SELECT ON programme_history, policy_differences TO {OFFICES};
GRANT INSERT, UPDATE (decisions, last_at) ON policy_differences TO mythos_gate_compliance;
GRANT SELECT ON rollouts TO mythos_gate_service;
GRANT SELECT ON policy_reports, change_request_approvals, rollouts, rollouts_history, policy_differences
  TO mythos_gate_reader;
"""


def run(sql: str) -> None:
    """Past SQLAlchemy, which would take every percent sign for a parameter."""
    op.get_bind().connection.cursor().execute(sql)


def upgrade() -> None:
    run(TABLES)
    for table in APPEND_ONLY:
        run(PROTECT.format(table=table))
    run(TRIGGER.format(name="touch", argument="'ARRAY[''global'']'"))
    run(TRIGGER.format(name="keep", argument="'id'"))
    run(APART)
    run(GRANTS)


def downgrade() -> None:
    run(f"REVOKE SELECT ON programme_history FROM {OFFICES}")
    run("DROP TABLE policy_differences, rollouts_history, rollouts, change_request_approvals")
    run("DROP TABLE policy_report_contents, policy_reports")
    run("ALTER TABLE policy_revisions DROP author, DROP reason, DROP parent")
