"""Row-level security: whoever acts for one organization finds no other in the database, and nothing at all without it."""

import secrets

import psycopg
import pytest
from sqlalchemy import make_url, text

from mythos_gate import db, tables
from mythos_gate.db import DbRole
from tests.changes import bump
from tests.test_database import REVISION, TOUCHED

READER, WRITER = "mythos_gate_tenant_reader", "mythos_gate_tenant"
# Of nationality no organization sees anything, not even of its own people; nor of who approved what policy.
APART = {
    "export_assessments", "nationality_records", "nationality_commitments", "change_request_contents",
    "change_request_approvals",
}  # fmt: skip
# A row of each table that decisions do not rest on.
FURTHER = [
    "INSERT INTO change_requests (id, action, resource, reference, members, before, after, requested_by, expires_at) VALUES ('chg_1', 'activate', 'people', 'per_1', '{}', '{}', '{}', 'cal_1', now())",
    "INSERT INTO change_request_contents VALUES ('chg_1', '{}')",
    "INSERT INTO nationality_commitments VALUES ('per_1', '', decode(repeat('00', 16), 'hex'))",
    "INSERT INTO seat_counts VALUES ('g', 1)",
    "INSERT INTO legal_holds (id, scope, person_id, matter) VALUES ('hld_1', 'person', 'per_1', 'M-1')",
    "INSERT INTO erased_people VALUES ('per_1', 'org_1', decode(repeat('00', 16), 'hex'), '')",
    "INSERT INTO idempotency_keys (id, request, answer, organization_id) VALUES (sha256('a'), sha256('a'), '', 'org_1')",
    "INSERT INTO callers (id, name, kind, roles, organization_id) VALUES ('cal_2', 'A', 'person', '{org_admin}', 'org_1')",
    "INSERT INTO api_keys (id, caller_id, hash) VALUES ('k2', 'cal_2', sha256(''))",
    "INSERT INTO scim_users (person_id, organization_id, user_name, attributes) VALUES ('per_1', 'org_1', 'u', '{}')",
    "INSERT INTO scim_groups (id, organization_id, display_name) VALUES ('grp_1', 'org_1', 'G')",
    "INSERT INTO scim_members VALUES ('grp_1', 'per_1', 'org_1')",
    "INSERT INTO invitations (id, organization_id, hash, expires_at) VALUES ('inv_1', 'org_1', sha256(''), now())",
]  # fmt: skip


def of_organizations():
    """The tables that name an organization, or a row of a table that does, and what they were before."""
    found = {"organizations"}
    while True:
        more = {
            table.name
            for table in tables.metadata.tables.values()
            if "organization_id" in table.c
            or "person_id" in table.c
            or {key.column.table.name for column in table.c for key in column.foreign_keys} & found
        }
        if more <= found:
            return found | {f"{name}_history" for name in found if name in tables.history}
        found |= more


@pytest.fixture
def owner(database):
    with psycopg.connect(database) as connection:
        connection.execute(REVISION)
        for into, values, _ in TOUCHED:
            connection.execute(f"INSERT INTO {into} VALUES ({values})")
        for statement in FURTHER:
            connection.execute(statement)
        connection.execute("INSERT INTO organizations (id, slug, name, status) VALUES ('org_2', 'b', 'B', 'active')")
        connection.execute(*bump())
        connection.commit()
        yield connection
        connection.rollback()


def become(connection, role, organization):
    connection.rollback()
    if organization is not None:
        connection.execute("SELECT set_config('mythos_gate.organization', %s, true)", [organization])
    connection.execute(f"SET LOCAL ROLE {role}")


def test_every_table_with_an_organization_has_a_policy_for_tenants(owner):
    secured = dict(owner.execute("SELECT relname, relrowsecurity FROM pg_class WHERE relkind = 'r'").fetchall())
    policies = owner.execute(
        "SELECT tablename, policyname, roles::text[], qual, with_check FROM pg_policies WHERE permissive = 'PERMISSIVE'"
    ).fetchall()
    expected = of_organizations()
    assert len(expected) > 40
    assert [name for name in sorted(expected) if not secured[name]] == []
    theirs = {name: (used, checked) for name, policy, _, used, checked in policies if policy == "tenant"}
    apart = {name for name in expected if name.removesuffix("_history") in APART}
    assert theirs.keys() == expected - apart
    assert [
        name for name, both in theirs.items() if "mythos_gate.organization" not in both[0] or both[0] != both[1]
    ] == []
    # No other policy is a tenant's: they add up.
    roles = {role for _, policy, named, _, _ in policies if policy != "tenant" for role in named}
    assert roles & {READER, WRITER, "public"} == set()


@pytest.mark.parametrize("role", [READER, WRITER])
def test_a_tenant_sees_its_own_rows_and_without_an_organization_none(owner, role):
    """Of every table, whether it may read it or not: the policy holds before the right is given."""
    owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
    owner.commit()
    tried = 0
    for table in sorted(of_organizations()):
        seen = {}
        for organization in (None, "", "org_1", "org_2", "nowhere"):
            become(owner, role, organization)
            (seen[organization],) = owner.execute(f"SELECT count(*) FROM {table}").fetchone()
        own = 0 if table.removesuffix("_history") in APART else 1
        assert min(seen["org_1"], 1) == own, (table, seen)
        assert seen["org_2"] == (table.removesuffix("_history") == "organizations"), (table, seen)
        assert (seen[None], seen[""], seen["nowhere"]) == (0, 0, 0), (table, seen)
        tried += 1
    assert tried > 40


def test_a_tenant_changes_nothing_of_whoever_has_a_key(owner):
    caller = "INSERT INTO callers (id, name, kind, roles, organization_id) VALUES ('{0}', '{0}', 'person', '{{org_admin}}', 'org_1')"
    become(owner, WRITER, "org_1")
    owner.execute(caller.format("tok_1"))
    assert owner.execute("UPDATE callers SET roles = '{scim}'").rowcount == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        owner.execute(caller.format("cal_3"))
    become(owner, WRITER, "org_1")
    assert owner.execute("UPDATE callers SET roles = '{org_admin,compliance}'").rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        owner.execute("INSERT INTO api_keys (id, caller_id, hash) VALUES ('k3', 'cal_2', sha256(''))")


NEW = "INSERT INTO people (id, organization_id, external_id, status, employment) VALUES ('per_9', '{}', 'n', 'active', 'employee')"


@pytest.mark.parametrize(
    ("organization", "statement", "refused"),
    [
        ("org_1", NEW.format("org_1"), False),
        ("org_1", NEW.format("org_2"), True),
        ("", NEW.format("org_1"), True),
        (None, NEW.format("org_1"), True),
        ("org_1", "UPDATE people SET organization_id = 'org_2' WHERE id = 'per_1'", True),
        ("org_1", "INSERT INTO approvals VALUES ('per_1', 'me')", False),
        ("org_2", "INSERT INTO approvals VALUES ('per_1', 'me')", True),
        ("org_2", "INSERT INTO idempotency_keys (id, request, answer, organization_id) VALUES (sha256(''), sha256(''), '', 'org_1')", True),
    ],
)  # fmt: skip
def test_a_tenant_writes_only_what_is_its_own(owner, organization, statement, refused):
    become(owner, WRITER, organization)
    if refused:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            owner.execute(statement)
    else:
        owner.execute(statement)


@pytest.mark.parametrize(("organization", "changed"), [("org_1", 1), ("org_2", 0), ("", 0), (None, 0)])
def test_a_tenant_changes_and_deletes_nothing_of_others(owner, organization, changed):
    for statement in (
        "UPDATE people SET status = 'suspended'",
        "UPDATE agents SET status = 'suspended'",
        "UPDATE endpoints SET status = 'retired'",
        "UPDATE change_requests SET state = 'withdrawn', decided_by = 'cal_1'",
        "UPDATE invitations SET state = 'withdrawn'",
        "DELETE FROM seats",
        "UPDATE seat_counts SET used = 0",
        "UPDATE idempotency_keys SET told_at = now()",
    ):
        become(owner, WRITER, organization)
        assert owner.execute(statement).rowcount == changed, statement


def test_the_hash_of_an_invitation_is_not_a_tenants_to_read(owner):
    for role in (READER, WRITER):
        become(owner, role, "org_1")
        assert owner.execute("SELECT id, state FROM invitations").fetchall() == [("inv_1", "open")]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            owner.execute("SELECT hash FROM invitations")


@pytest.mark.parametrize("table", sorted(APART | {"callers", "api_keys", "grants_history", "log_entries", "stops"}))
def test_what_is_none_of_a_tenants_business_it_may_not_read(owner, table):
    for role in (READER, WRITER):
        become(owner, role, "org_1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            owner.execute(f"SELECT * FROM {table}")


@pytest.mark.parametrize(("role", "becomes"), [("mythos_gate_reader", READER), ("mythos_gate_compliance", WRITER)])
def test_a_role_may_become_a_tenant_and_does_not_have_its_policies(owner, role, becomes):
    assert owner.execute(
        "SELECT pg_has_role(%s, %s, 'SET'), pg_has_role(%s, %s, 'USAGE')", [role, becomes] * 2
    ).fetchone() == (True, False)
    assert owner.execute("SELECT pg_has_role('mythos_gate_reader', %s, 'SET')", [WRITER]).fetchone() == (False,)
    for each in ("mythos_gate_service", "mythos_gate_sequencer"):
        assert owner.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", [each, READER]).fetchone() == (False,)


@pytest.mark.anyio
@pytest.mark.parametrize("role", db.CONFINED)
async def test_a_login_of_its_own_for_each_role_is_confined_as_well(owner, database, role):
    """As in production, where no login is the owner's."""
    login = f"login_{secrets.token_hex(6)}"
    owner.execute(f"CREATE ROLE {login} LOGIN IN ROLE {role}")
    owner.commit()
    pool = db.engine(make_url(database).set(username=login).render_as_string(hide_password=False), role, 1)
    seen = {}
    for organization in ("org_1", "org_2"):
        async with db.confined(pool, organization).connect() as connection:
            seen[organization] = (await connection.execute(text("SELECT count(*) FROM people"))).scalar_one()
    if role is DbRole.COMPLIANCE:
        async with db.without_nationality(pool).connect() as connection:
            seen["office"] = (await connection.execute(text("SELECT current_user::text"))).scalar_one()
    await pool.dispose()
    owner.execute(f"DROP ROLE {login}")
    owner.commit()
    office = {"office": "mythos_gate_office"} if role is DbRole.COMPLIANCE else {}
    assert seen == {"org_1": 1, "org_2": 0} | office
