"""Invitations of future employees; and that an administrator by token is on record when they decide something."""

from alembic import op

revision = "0017"
down_revision = "0016"

OWN = "(SELECT nullif(current_setting('mythos_gate.organization', true), ''))"
UP = """
CREATE TABLE invitations (
  id text CONSTRAINT pk_invitations PRIMARY KEY,
  organization_id text NOT NULL CONSTRAINT fk_invitations_organization_id REFERENCES organizations (id),
  hash bytea NOT NULL,
  members jsonb,
  requested_by text,
  state text NOT NULL DEFAULT 'open',
  person_id text,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT fk_invitations_organization_id_person_id
    FOREIGN KEY (organization_id, person_id) REFERENCES people (organization_id, id),
  CONSTRAINT ck_invitations_hash CHECK (octet_length(hash) = 32),
  CONSTRAINT ck_invitations_state CHECK (state IN ('open', 'accepted', 'withdrawn')),
  CONSTRAINT ck_invitations_members CHECK (state = 'open' OR num_nonnulls(members, requested_by) = 0),
  CONSTRAINT ck_invitations_person_id CHECK ((state = 'accepted') = (person_id IS NOT NULL))
);
CREATE INDEX ix_invitations_organization_id ON invitations (organization_id);
ALTER TABLE invitations ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON invitations
  TO mythos_gate_service, mythos_gate_reader, mythos_gate_compliance, mythos_gate_office USING (true) WITH CHECK (true);
"""
TENANT = f"""
CREATE POLICY tenant ON invitations TO mythos_gate_tenant_reader
  USING (organization_id = {OWN}) WITH CHECK (organization_id = {OWN});
"""
# The hash is read to know who accepts, before it is known of which organization they will be.
SHOWN = "id, organization_id, members, requested_by, state, person_id, expires_at, created_at"
KEPT = "kind, roles, organization_id, models, organizations, authority_id, person_id"
GRANTS = f"""
GRANT SELECT ({SHOWN}) ON invitations TO mythos_gate_reader, mythos_gate_tenant_reader;
GRANT SELECT, INSERT, UPDATE (members, requested_by, state, person_id) ON invitations TO mythos_gate_compliance;
GRANT INSERT, UPDATE (members, requested_by, state, person_id) ON invitations TO mythos_gate_tenant;
GRANT SELECT (id), INSERT (id, name, {KEPT}), UPDATE ({KEPT}) ON callers TO mythos_gate_tenant;
"""
# Of whoever has a key an administrator changes nothing, least of all what they may.
OF_HOLDERS = """
CREATE POLICY insert_by_token ON callers AS RESTRICTIVE FOR INSERT TO mythos_gate_tenant
  WITH CHECK (starts_with(id, 'tok_'));
CREATE POLICY update_by_token ON callers AS RESTRICTIVE FOR UPDATE TO mythos_gate_tenant
  USING (starts_with(id, 'tok_'));
"""
DOWN = f"""
DROP POLICY insert_by_token ON callers;
DROP POLICY update_by_token ON callers;
REVOKE SELECT (id), INSERT (id, name, {KEPT}), UPDATE ({KEPT}) ON callers FROM mythos_gate_tenant;
DROP TABLE invitations;
"""


def _run(sql: str) -> None:
    # Past SQLAlchemy, which would take percent signs and colons for parameters.
    op.get_bind().connection.cursor().execute(sql)


def upgrade() -> None:
    for each in (UP, TENANT, GRANTS, OF_HOLDERS):
        _run(each)


def downgrade() -> None:
    _run(DOWN)
