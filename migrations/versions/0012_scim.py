"""What an organization's identity provider says of people, groups that only record membership, and the role for it."""

from alembic import op

revision = "0012"
down_revision = "0011"

ROLES = "'gateway', 'org_admin', 'officer', 'compliance', 'auditor', 'operator'"
UP = """
CREATE TABLE scim_users (
  person_id text CONSTRAINT pk_scim_users PRIMARY KEY,
  organization_id text NOT NULL,
  user_name text,
  external_id text,
  attributes jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  deleted_at timestamptz,
  CONSTRAINT fk_scim_users_organization_id_person_id
    FOREIGN KEY (organization_id, person_id) REFERENCES people (organization_id, id),
  CONSTRAINT ck_scim_users_deleted_at CHECK ((user_name IS NULL) = (deleted_at IS NOT NULL))
);
CREATE UNIQUE INDEX uq_scim_users_user_name ON scim_users (organization_id, lower(user_name));
CREATE UNIQUE INDEX uq_scim_users_external_id ON scim_users (organization_id, external_id);
CREATE TABLE scim_groups (
  id text CONSTRAINT pk_scim_groups PRIMARY KEY,
  organization_id text NOT NULL CONSTRAINT fk_scim_groups_organization_id REFERENCES organizations (id),
  display_name text NOT NULL,
  external_id text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT uq_scim_groups_organization_id_id UNIQUE (organization_id, id)
);
CREATE UNIQUE INDEX uq_scim_groups_external_id ON scim_groups (organization_id, external_id);
CREATE TABLE scim_members (
  group_id text NOT NULL,
  person_id text NOT NULL,
  organization_id text NOT NULL,
  CONSTRAINT pk_scim_members PRIMARY KEY (group_id, person_id),
  CONSTRAINT fk_scim_members_organization_id_group_id
    FOREIGN KEY (organization_id, group_id) REFERENCES scim_groups (organization_id, id) ON DELETE CASCADE,
  CONSTRAINT fk_scim_members_organization_id_person_id
    FOREIGN KEY (organization_id, person_id) REFERENCES people (organization_id, id)
);
CREATE INDEX ix_scim_members_person_id ON scim_members (person_id);
GRANT SELECT, INSERT, UPDATE ON scim_users TO mythos_gate_compliance;
GRANT SELECT, INSERT, UPDATE, DELETE ON scim_groups, scim_members TO mythos_gate_compliance;
GRANT SELECT ON scim_users, scim_groups, scim_members TO mythos_gate_reader;

-- Of whoever is erased the provider's words go as well.
CREATE FUNCTION erase_provisioned() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM scim_members WHERE person_id = NEW.id;
  DELETE FROM scim_users WHERE person_id = NEW.id;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION erase_provisioned FROM PUBLIC;
CREATE TRIGGER erase_provisioned AFTER UPDATE OF status ON people FOR EACH ROW WHEN (NEW.status = 'erased')
  EXECUTE FUNCTION erase_provisioned();
ALTER TABLE people ENABLE ALWAYS TRIGGER erase_provisioned;
"""
# Unless it is named, pg_temp is searched before all else (0009).
SEARCHING = """
DO $$ BEGIN
  EXECUTE format('ALTER FUNCTION erase_provisioned() SET search_path = %I, pg_temp', current_schema());
END $$;
"""
DOWN = """
DROP TRIGGER erase_provisioned ON people;
DROP FUNCTION erase_provisioned;
DROP TABLE scim_members, scim_groups, scim_users;
"""


def _run(sql: str) -> None:
    # Past SQLAlchemy, which would take percent signs and colons for parameters.
    op.get_bind().connection.cursor().execute(sql)


def _check(name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_callers_{name}"), "callers", type_="check")
    op.create_check_constraint(op.f(f"ck_callers_{name}"), "callers", condition)


def upgrade() -> None:
    _run(UP)
    _run(SEARCHING)
    _check("organization_id", "(roles && ARRAY['org_admin', 'scim']) = (organization_id IS NOT NULL)")
    _check("roles", f"roles <@ ARRAY[{ROLES}, 'scim']::text[]")


def downgrade() -> None:
    _check("roles", f"roles <@ ARRAY[{ROLES}]::text[]")
    _check("organization_id", "('org_admin' = ANY (roles)) = (organization_id IS NOT NULL)")
    _run(DOWN)
