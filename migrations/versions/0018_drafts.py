"""Simulations of any draft are kept, and what widens access for many rests on one; policy cases that officers add."""

from alembic import op

revision = "0018"
down_revision = "0017"

OFFICES = "mythos_gate_compliance, mythos_gate_office"
# Of a report that is older, `policy` is all that it is of.
UP = f"""
ALTER TABLE policy_reports ALTER policy DROP NOT NULL, ADD draft jsonb NOT NULL DEFAULT '{{}}',
  ADD CONSTRAINT ck_policy_reports_draft CHECK (policy IS NOT NULL OR draft <> '{{}}');
ALTER TABLE policy_reports ALTER draft DROP DEFAULT;
ALTER TABLE change_requests ADD simulation text,
  ADD CONSTRAINT fk_change_requests_simulation FOREIGN KEY (simulation) REFERENCES policy_reports (id);
CREATE TABLE policy_cases (
  id text CONSTRAINT pk_policy_cases PRIMARY KEY,
  name text NOT NULL,
  content jsonb NOT NULL,
  sha256 text NOT NULL,
  added_by text NOT NULL,
  lifted_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT ck_policy_cases_lifted_at_finite CHECK (isfinite(lifted_at)),
  CONSTRAINT ck_policy_cases_created_at_finite CHECK (isfinite(created_at))
);
CREATE UNIQUE INDEX uq_policy_cases_standing ON policy_cases (name) WHERE lifted_at IS NULL;
GRANT SELECT, INSERT, UPDATE (lifted_at) ON policy_cases TO {OFFICES};
GRANT SELECT ON policy_cases TO mythos_gate_reader;
"""
# Reports of what is no policy have no place there any more.
DOWN = """
DROP TABLE policy_cases;
ALTER TABLE change_requests DROP simulation;
ALTER TABLE policy_reports DISABLE TRIGGER append_only;
ALTER TABLE policy_report_contents DISABLE TRIGGER append_only;
DELETE FROM policy_report_contents c USING policy_reports r WHERE r.id = c.report_id AND r.draft <> '{}';
DELETE FROM policy_reports WHERE draft <> '{}';
ALTER TABLE policy_reports ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE policy_report_contents ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE policy_reports DROP draft, ALTER policy SET NOT NULL;
"""

# Whom a break-glass is requested for is named until they are erased.
LAST = "  -- The list of touched keys holds names"
NAMED = (
    "(SELECT jsonb_agg(CASE name WHEN was THEN gone ELSE name END) FROM jsonb_array_elements_text({}->'people') name)"
)
ERASING = f"""
  UPDATE change_requests SET salt = NULL,
    members = members || jsonb_build_object('people', {NAMED.format("members")}),
    after = after || jsonb_build_object('people', {NAMED.format("after")})
  WHERE resource = 'break_glasses' AND members->>'organization' = place AND members->'people' ? was;
"""


def _rewrite(old: str, new: str) -> None:
    """In the function that erases a person, whose body earlier migrations have made."""
    cursor = op.get_bind().connection.cursor()
    cursor.execute("SELECT pg_get_functiondef('erase_person'::regproc)")
    body = cursor.fetchone()[0]
    assert body.count(old) == 1
    cursor.execute(body.replace(old, new))


def upgrade() -> None:
    op.execute(UP)
    _rewrite(LAST, ERASING + LAST)


def downgrade() -> None:
    _rewrite(ERASING, "")
    op.execute(DOWN)
