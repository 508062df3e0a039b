"""Tenants: what an organization's administrator does is confined to the organization a second time, by the database.

And the office: officers and operators administer as a role that reaches no nationality, which is compliance's alone.
"""

from alembic import op

revision = "0014"
down_revision = "0013"

# The organization that a transaction names; without one NULL, which equals nothing.
NAMED = "nullif(current_setting('mythos_gate.organization', true), '')"
OWN = f"(SELECT {NAMED})"  # once a statement, not once a row
OF_PERSON = f"EXISTS (SELECT FROM people p WHERE p.id = person_id AND p.organization_id = {OWN})"
OF_GRANT = f"EXISTS (SELECT FROM grants g WHERE g.id = grant_id AND g.organization_id = {OWN})"
OF_CALLER = f"EXISTS (SELECT FROM callers c WHERE c.id = caller_id AND c.organization_id = {OWN})"
OF_ENDPOINT = f"EXISTS (SELECT FROM endpoints e WHERE e.id = endpoint_id AND e.organization_id = {OWN})"
ABOUT_STAFF = " OR ".join(
    f"EXISTS (SELECT FROM {table} r WHERE r.id = change_requests.reference AND r.organization_id = {OWN})"
    for table in ("people", "agents", "endpoints")
)
# Table -> whether a row is the organization's.
TABLES = {
    "organizations": f"id = {OWN}",
    **dict.fromkeys(
        (
            "people", "agents", "endpoints", "grants", "ownerships", "organization_screenings", "directive_exemptions",
            "grant_listed_people", "seats", "break_glasses", "erased_people", "callers", "idempotency_keys", "scim_users",
            "scim_groups", "scim_members",
        ),
        f"organization_id = {OWN}",
    ),
    "approvals": OF_PERSON,
    "person_screenings": OF_PERSON,
    "seat_counts": OF_GRANT,
    "api_keys": OF_CALLER,
    "stops": f"organization_id = {OWN} OR {OF_PERSON} OR {OF_ENDPOINT}",
    "legal_holds": f"organization_id = {OWN} OR {OF_PERSON}",
    "change_requests": ABOUT_STAFF,
}  # fmt: skip
# Of no organization, whoever it is about.
NOBODYS = ("export_assessments", "nationality_records", "nationality_commitments", "change_request_contents")
PAST = (
    "organizations", "people", "agents", "endpoints", "grants", "ownerships", "organization_screenings",
    "directive_exemptions", "grant_listed_people", "seats", "break_glasses", "callers", "approvals",
    "person_screenings", "api_keys", "stops", "export_assessments", "nationality_records",
)  # fmt: skip
EVERYBODY_ELSE = "mythos_gate_service, mythos_gate_reader, mythos_gate_compliance, mythos_gate_office"

ROLES = """
DO $$
DECLARE role text;
BEGIN
  -- Roles belong to the cluster: another database, migrated at the same time, may make them first.
  PERFORM pg_advisory_xact_lock(hashtext('mythos_gate roles'));
  FOREACH role IN ARRAY ARRAY['mythos_gate_tenant_reader', 'mythos_gate_tenant', 'mythos_gate_office'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    IF NOT pg_has_role(current_user, role, 'SET') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', role);
    END IF;
  END LOOP;
  IF NOT pg_has_role('mythos_gate_tenant', 'mythos_gate_tenant_reader', 'USAGE') THEN
    GRANT mythos_gate_tenant_reader TO mythos_gate_tenant;
  END IF;
  -- To become, not to inherit from: the policies of a tenant are not theirs.
  IF NOT pg_has_role('mythos_gate_reader', 'mythos_gate_tenant_reader', 'SET') THEN
    GRANT mythos_gate_tenant_reader TO mythos_gate_reader WITH INHERIT FALSE, SET TRUE;
  END IF;
  IF NOT pg_has_role('mythos_gate_compliance', 'mythos_gate_tenant', 'SET') THEN
    GRANT mythos_gate_tenant TO mythos_gate_compliance WITH INHERIT FALSE, SET TRUE;
  END IF;
  IF NOT pg_has_role('mythos_gate_compliance', 'mythos_gate_office', 'SET') THEN
    GRANT mythos_gate_office TO mythos_gate_compliance WITH INHERIT FALSE, SET TRUE;
  END IF;
END $$;
"""
# What an administrator's routes need, and nothing else.
GRANTS = """
GRANT USAGE ON SCHEMA {schema} TO mythos_gate_tenant_reader, mythos_gate_tenant;
GRANT SELECT (id, slug) ON organizations TO mythos_gate_tenant_reader;
GRANT SELECT ON people, agents, endpoints, approvals TO mythos_gate_tenant_reader;
GRANT INSERT, UPDATE ON people, agents, endpoints TO mythos_gate_tenant;
GRANT INSERT ON approvals TO mythos_gate_tenant;
GRANT SELECT (id, organization_id) ON grants TO mythos_gate_tenant;
GRANT SELECT, DELETE ON seats TO mythos_gate_tenant;
GRANT SELECT, UPDATE (used) ON seat_counts TO mythos_gate_tenant;
GRANT SELECT ON erased_people TO mythos_gate_tenant;
GRANT SELECT, INSERT, UPDATE (state, decided_by, decided_at, reason) ON change_requests TO mythos_gate_tenant;
GRANT SELECT ON scim_users, scim_groups, scim_members TO mythos_gate_tenant_reader;
GRANT INSERT, UPDATE ON scim_users TO mythos_gate_tenant;
GRANT INSERT, UPDATE, DELETE ON scim_groups, scim_members TO mythos_gate_tenant;
GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO mythos_gate_tenant;
GRANT EXECUTE ON FUNCTION bump_revision TO mythos_gate_tenant;
"""


# What compliance may, but for nationality and the functions of erasure, retention and upkeep. A request that is
# decided is deleted from where nationality waits, whatever it is about.
OFFICE = """
DO $$
DECLARE given record;
BEGIN
  FOR given IN
    SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind IN ('r', 'p')
    AND a.grantee = 'mythos_gate_compliance'::regrole AND c.relname <> ALL (ARRAY[{nobodys}])
  LOOP
    EXECUTE format('GRANT %s ON %I TO mythos_gate_office', given.privilege_type, given.relname);
  END LOOP;
END $$;
GRANT USAGE ON SCHEMA {schema} TO mythos_gate_office;
GRANT SELECT ON revision, revision_stamps, touched TO mythos_gate_office;
GRANT SELECT (change_request_id), DELETE ON change_request_contents TO mythos_gate_office;
GRANT UPDATE (state, decided_by, decided_at, reason) ON change_requests TO mythos_gate_office;
GRANT EXECUTE ON FUNCTION bump_revision TO mythos_gate_office;
"""


def run(sql: str) -> list[tuple[str, ...]]:
    """Past SQLAlchemy, which would take every percent sign for a parameter."""
    cursor = op.get_bind().connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall()) if cursor.description else []


def _tables() -> dict[str, str]:
    past = {f"{table}_history": condition for table, condition in TABLES.items() if table in PAST}
    return TABLES | past


def _nobodys() -> list[str]:
    return [*NOBODYS, *(f"{table}_history" for table in NOBODYS if table in PAST)]


def upgrade() -> None:
    run(ROLES)
    # Whose answer it is: an administrator repeats the own requests alone.
    run(f"ALTER TABLE idempotency_keys ADD COLUMN organization_id text DEFAULT {NAMED}")
    for table in (*_tables(), *_nobodys()):
        run(
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
            f"CREATE POLICY others ON {table} TO {EVERYBODY_ELSE} USING (true) WITH CHECK (true)"
        )
    for table, condition in _tables().items():
        run(
            f"CREATE POLICY tenant ON {table} TO mythos_gate_tenant_reader USING ({condition}) WITH CHECK ({condition})"
        )
    schema = run("SELECT quote_ident(current_schema())")[0][0]
    run(GRANTS.format(schema=schema))
    run(OFFICE.format(schema=schema, nobodys=", ".join(f"'{table}'" for table in _nobodys())))


def downgrade() -> None:
    for table in _tables():
        run(f"DROP POLICY tenant ON {table}")
    for table in (*_tables(), *_nobodys()):
        run(f"DROP POLICY others ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    run("ALTER TABLE idempotency_keys DROP COLUMN organization_id")
    # The roles stay: they belong to the cluster, and another database may use them.
    schema = run("SELECT quote_ident(current_schema())")[0][0]
    roles = "mythos_gate_tenant_reader, mythos_gate_tenant, mythos_gate_office"
    run(
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {roles};"
        f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM {roles}; REVOKE ALL ON SCHEMA {schema} FROM {roles}"
    )
