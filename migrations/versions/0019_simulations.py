"""Simulations of any draft are kept; what widens access for many is bound to the one that it rests on."""

from alembic import op

revision = "0019"
down_revision = "0017"

# Of a report that is older, `policy` is all that it is of.
UP = """
ALTER TABLE policy_reports ALTER policy DROP NOT NULL, ADD draft jsonb NOT NULL DEFAULT '{}',
  ADD CONSTRAINT ck_policy_reports_draft CHECK (policy IS NOT NULL OR draft <> '{}');
ALTER TABLE policy_reports ALTER draft DROP DEFAULT;
ALTER TABLE change_requests ADD simulation text,
  ADD CONSTRAINT fk_change_requests_simulation FOREIGN KEY (simulation) REFERENCES policy_reports (id);
"""
# Reports of what is no policy have no place there any more.
DOWN = """
ALTER TABLE change_requests DROP simulation;
ALTER TABLE policy_reports DISABLE TRIGGER append_only;
ALTER TABLE policy_report_contents DISABLE TRIGGER append_only;
DELETE FROM policy_report_contents c USING policy_reports r WHERE r.id = c.report_id AND r.draft <> '{}';
DELETE FROM policy_reports WHERE draft <> '{}';
ALTER TABLE policy_reports ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE policy_report_contents ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE policy_reports DROP draft, ALTER policy SET NOT NULL;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
