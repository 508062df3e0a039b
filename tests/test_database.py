"""The promises of the schema, asked of a real Postgres under the roles that the service uses."""

import asyncpg
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from mythos_gate import db, tables
from mythos_gate.audit.entry import leaf_hash, timestamp
from mythos_gate.errors import Misconfigured
from tests.changes import bump
from tests.service import question

ORGANIZATION = "INSERT INTO organizations (id, slug, name, status) VALUES ('org_1', 'acme', 'Acme', 'active')"


@pytest.fixture
def owner(database):
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def office(database):
    with psycopg.connect(database, options="-c role=mythos_gate_compliance") as connection:
        yield connection


@pytest.fixture
def pdp(database):
    with psycopg.connect(database, options="-c role=mythos_gate_service") as connection:
        yield connection


def changed(connection, *statements):
    for statement in statements:
        connection.execute(statement)
    (n,) = connection.execute(*bump()).fetchone()
    connection.commit()
    return n


def test_the_migrations_give_what_the_tables_say(database):
    assert db.differences(database) is None


def test_the_migrations_go_up_and_down_and_up(database, owner):
    db.downgrade(database, "base")
    left = owner.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    assert left.fetchall() == [("alembic_version",)]
    db.upgrade(database)
    assert db.differences(database) is None


def test_every_kept_table_has_its_triggers_and_history(owner):
    for table in tables.KEPT:
        found = {
            name
            for (name,) in owner.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", [table.name]
            )
        }
        assert found >= {
            f"{kind}_{operation}" for kind in ("touch", "keep") for operation in ("insert", "update", "delete")
        }, table.name


def test_every_trigger_fires_whatever_the_session_says(owner):
    """`SET session_replication_role = replica` passes over those that are not ENABLE ALWAYS."""
    found = owner.execute("SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal")
    enabled = {(table, name): how for table, name, how in found}
    assert {("touched", "stamped"), ("log_entries", "append_only"), ("log_entries", "no_truncate")} <= enabled.keys()
    assert [trigger for trigger, how in enabled.items() if how != "A"] == []


ACME, PERSON, GLOBAL = {"organization:org_1"}, {"person:per_1"}, {"global"}
REVISION = "INSERT INTO policy_revisions (sha256, files) VALUES (repeat('0', 64), '{}')"  # number 1
# In the order in which they refer to each other: a record of each table, and the keys that it touches.
TOUCHED = [
    ("authorities (id, slug, name, kind)", "'aut_1', 'v', 'V', 'vendor'", GLOBAL),
    ("models", "'m', 'aut_1', 'M', '{5.1}', '{c}'", GLOBAL),
    ("data_sets (id, version)", "'d', '1'", GLOBAL),
    ("switches (name, starts_at, id)", "'affiliates_rule', now(), 'swi_1'", GLOBAL),
    ("organizations (id, slug, name, status)", "'org_1', 'acme', 'A', 'active'", ACME | {"organization-name:acme"}),
    ("ownerships", "'org_1', 'o', 1, false, false", ACME),
    ("organization_screenings (organization_id, status)", "'org_1', 'clear'", ACME),
    ("grants (id, authority_id, organization_id, model_id, reference, status, not_before, versions, capabilities, purposes, foreign_nationals, excluded_groups, nationality_basis, allowed_countries, contractors, agents)",
     "'g', 'aut_1', 'org_1', 'm', 'r', 'active', now(), '{}', '{}', '{}', 'none', '{}', 'strict_any_current', '{}', false, false", ACME),
    ("break_glasses (id, incident, organization_id, opened_by, approvers, opened_at, expires_at)",
     "'b', 'I-1', 'org_1', 'o', '{}', now(), now() + interval '1 h'", ACME),
    ("directives (id, authority_id, model_id, reference, versions, applies_to, starts_at)", "'dir_1', 'aut_1', 'm', 'D', '{}', 'all', now()", GLOBAL),
    ("directive_exemptions", "'dir_1', 'org_1'", GLOBAL),
    ("people (id, organization_id, external_id, status, employment)", "'per_1', 'org_1', 'p', 'active', 'employee'", PERSON | {"person-name:org_1/p"}),
    ("approvals", "'per_1', 'a'", PERSON),
    ("person_screenings (person_id, status)", "'per_1', 'clear'", PERSON),
    ("export_assessments (person_id, us_person)", "'per_1', 'no'", PERSON),
    ("nationality_records (id, person_id, kind, country, country_text)", "'n', 'per_1', 'citizenship', 'CA', 'CA'", PERSON),
    ("grant_listed_people", "'g', 'per_1', 'org_1'", PERSON),
    ("seats (grant_id, person_id, organization_id)", "'g', 'per_1', 'org_1'", PERSON),
    ("agents (id, organization_id, external_id, sponsor_id, status, scopes)", "'agt_1', 'org_1', 'a', 'per_1', 'active', '{}'", {"agent:agt_1", "agent-name:org_1/a"}),
    ("endpoints (id, organization_id, external_id, status)", "'ept_1', 'org_1', 'e', 'active'", {"endpoint:ept_1", "endpoint-name:org_1/e"}),
    ("stops (id, scope)", "'s1', 'everything'", GLOBAL),
    ("stops (id, scope, model_id)", "'s2', 'model', 'm'", GLOBAL),
    ("stops (id, scope, authority_id)", "'s3', 'authority', 'aut_1'", GLOBAL),
    ("stops (id, scope, organization_id, incident)", "'s4', 'organization', 'org_1', 'I'", ACME),
    ("stops (id, scope, person_id, incident)", "'s5', 'person', 'per_1', 'I'", PERSON),
    ("stops (id, scope, endpoint_id, incident)", "'s6', 'endpoint', 'ept_1', 'I'", {"endpoint:ept_1"}),
    ("rollouts (id, policy_revision, starts_at, percent)", "'rol_1', 1, now(), 0", GLOBAL),
    ("callers (id, name, kind, roles)", "'cal_1', 'C', 'person', '{}'", {"caller:cal_1"}),
    ("api_keys (id, caller_id, hash)", "'k', 'cal_1', sha256('')", {"key:k"}),
]  # fmt: skip


def test_every_record_touches_its_keys_when_it_comes_and_when_it_goes(database):
    tried = {into.partition(" ")[0] for into, _, _ in TOUCHED} | {"programme"}
    assert tried >= {table.name for table in tables.KEPT}
    with psycopg.connect(database) as owner:

        def stamped(statement):
            n = changed(owner, statement)
            return {key for (key,) in owner.execute("SELECT key FROM touched WHERE n = %s", [n])}

        assert stamped("UPDATE programme SET demo = true") == GLOBAL
        owner.execute(REVISION)
        for into, values, keys in TOUCHED:
            assert (into, stamped(f"INSERT INTO {into} VALUES ({values})")) == (into, keys)
        for table in ("ownerships", "approvals", "grant_listed_people", "directive_exemptions", "seats"):
            keys = next(keys for into, _, keys in TOUCHED if into.partition(" ")[0] == table)
            assert (table, stamped(f"DELETE FROM {table}")) == (table, keys)
            past = owner.execute(f"SELECT count(*), count(upper(valid)) FROM {table}_history").fetchone()
            assert (table, past) == (table, (1, 1))


def test_a_change_without_a_bump_is_refused_at_commit(office):
    office.execute(ORGANIZATION)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=r"organization:org_1|organization-name:acme"):
        office.commit()


def test_a_change_after_the_bump_is_refused_too(office):
    office.execute(ORGANIZATION)
    office.execute(*bump())
    office.execute("UPDATE organizations SET status = 'suspended'")
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        office.commit()


def test_a_bump_stamps_the_keys_of_the_old_and_the_new_row(office, owner):
    changed(office, ORGANIZATION)
    n = changed(office, "UPDATE organizations SET slug = 'acme-two'")
    stamped = owner.execute("SELECT key FROM touched WHERE n = %s", [n]).fetchall()
    assert {"organization:org_1", "organization-name:acme", "organization-name:acme-two"} == {key for (key,) in stamped}


def test_more_than_a_thousand_keys_become_one_that_counts_as_all(office, owner):
    changed(office, ORGANIZATION)
    n = changed(
        office,
        "INSERT INTO people (id, organization_id, external_id, status, employment)"
        " SELECT 'per_' || i, 'org_1', i::text, 'active', 'employee' FROM generate_series(1, 501) i",
    )
    assert [("*", n)] == owner.execute("SELECT key, n FROM touched WHERE n = %s OR n IS NULL", [n]).fetchall()


@pytest.mark.parametrize("parts", [["{", "", "", ""], ['{"at":', ',"id":"x","n":', ',"prev":', ',"type":"test"}']])
def test_an_entry_of_the_registry_says_what_it_is(office, owner, parts):
    statement, (identifier, kind, _) = bump()
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.InvalidTextRepresentation)):
        office.execute(statement, [identifier, kind, parts])
    office.rollback()
    assert owner.execute("SELECT n FROM revision").fetchone() == (0,)


@pytest.mark.parametrize(
    "statement", ["UPDATE log_prunes SET entries = 1", "DELETE FROM log_prunes", "TRUNCATE log_prunes"]
)
def test_what_was_pruned_stays_told(owner, statement):
    owner.execute("INSERT INTO log_prunes (before, entries) VALUES ('2016-01-01', 2)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        owner.execute(statement)


def test_a_rolled_back_change_leaves_nothing(office, owner):
    office.execute(ORGANIZATION)
    office.execute(*bump())
    office.rollback()
    counts = owner.execute(
        "SELECT (SELECT n FROM revision), (SELECT count(*) FROM touched), (SELECT count(*) FROM log_entries), (SELECT count(*) FROM organizations_history)"
    )
    assert counts.fetchone() == (0, 0, 0, 0)


def test_a_bump_writes_one_entry_that_names_the_last(office, owner):
    for number in range(3):
        assert number + 1 == changed(office)
    rows = owner.execute("SELECT at, n, leaf, body FROM log_entries ORDER BY n").fetchall()
    previous = None
    for at, n, leaf, body in rows:
        assert leaf == leaf_hash(body)
        assert f'"at":"{timestamp(at)}"' in body.decode()
        assert f'"n":{n},"prev":{"null" if previous is None else chr(34) + previous.hex() + chr(34)},' in body.decode()
        previous = leaf


def test_the_past_of_a_row_can_be_asked(office, owner):
    changed(office, ORGANIZATION)
    (between,) = owner.execute("SELECT clock_timestamp()").fetchone()
    changed(office, "UPDATE organizations SET status = 'suspended'")
    past = owner.execute("SELECT status FROM organizations_history WHERE id = 'org_1' AND valid @> %s", [between])
    now = owner.execute("SELECT status FROM organizations_history WHERE id = 'org_1' AND upper_inf(valid)")
    assert past.fetchall() == [("active",)]
    assert now.fetchall() == [("suspended",)]


def test_two_changes_of_one_row_in_one_transaction_do_not_overlap(office, owner):
    changed(office, ORGANIZATION, "UPDATE organizations SET name = 'B'", "UPDATE organizations SET name = 'C'")
    versions = owner.execute("SELECT name FROM organizations_history ORDER BY valid").fetchall()
    assert versions == [("Acme",), ("B",), ("C",)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_entries SET type = 'x'",
        "DELETE FROM log_entries",
        "TRUNCATE log_entries",
        "SELECT body FROM log_entries",
        "SELECT * FROM nationality_records",
        "SELECT * FROM export_assessments",
        "SELECT * FROM nationality_records_history",
        "UPDATE revision SET n = n + 1",
        "INSERT INTO touched (xid, key) VALUES ('1', 'x')",
        "DELETE FROM people",
        "TRUNCATE organizations",
        "SELECT touch_keys(ARRAY['x'])",
        "SELECT bump_revision(uuidv7(), 'x', '{}')",
        "SELECT name FROM people",
        "SELECT email FROM people",
        "SELECT * FROM people_history",
        "UPDATE jurisdictions SET groups = '{}'",
        "UPDATE policy_revisions SET files = '{}'",
        "UPDATE programme SET policy_revision = 1",
        "UPDATE people SET status = 'active'",
        "INSERT INTO seats VALUES ('g', 'p', 'o')",
        "UPDATE api_keys SET revoked_at = NULL",
        "INSERT INTO log_entries (id, at, type, writer, n, leaf, body) VALUES (uuidv7(), now(), 'x', 'registry', 1, sha256('\\x007b7d'), '{}')",
    ],
)
def test_the_pdp_may_not(pdp, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        pdp.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = 'x'", "DELETE FROM {}"])
@pytest.mark.parametrize(("table", "column"), [("policy_revisions", "sha256"), ("jurisdictions", "name")])
def test_what_is_named_by_its_content_never_changes(office, owner, table, column, statement):
    changed(
        office,
        "INSERT INTO policy_revisions (sha256, files) VALUES (repeat('0', 64), '{}')",
        "INSERT INTO data_sets VALUES ('d', '1', NULL, now())",
        "INSERT INTO jurisdictions VALUES ('d', 'XX', NULL, 'n', 'k', 'listed', NULL, '{}')",
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        owner.execute(statement.format(table, column))


GROUPS = {"scim_groups", "scim_members"}
LISTS = {"ownerships", "approvals", "grant_listed_people", "directive_exemptions", "seats"}
APART = {"change_request_contents", "nationality_records", "nationality_commitments", "export_assessments"}


@pytest.mark.parametrize(
    ("role", "right", "expected"),
    [
        ("mythos_gate_compliance", "DELETE", LISTS | APART | {"idempotency_keys", "scim_groups", "scim_members"}),
        ("mythos_gate_compliance", "TRUNCATE", set()),
        ("mythos_gate_service", "UPDATE, DELETE, TRUNCATE", set()),
        ("mythos_gate_service", "INSERT", {"log_entries"}),
        ("mythos_gate_reader", "INSERT, UPDATE, DELETE, TRUNCATE", set()),
        ("mythos_gate_office", "DELETE", LISTS | GROUPS | {"change_request_contents", "idempotency_keys"}),
        ("mythos_gate_office", "TRUNCATE", set()),
        ("mythos_gate_tenant", "DELETE, TRUNCATE", {"seats"} | GROUPS),
        (
            "mythos_gate_tenant",
            "INSERT",
            {"people", "agents", "endpoints", "approvals", "idempotency_keys", "change_requests", "scim_users"}
            | {"invitations", "callers"}
            | GROUPS,
        ),
        ("mythos_gate_tenant_reader", "INSERT, UPDATE, DELETE, TRUNCATE", set()),
    ],
)
def test_nobody_writes_more_than_is_theirs(owner, role, right, expected):
    columns = "has_any_column_privilege(%(role)s, oid, 'INSERT')" if right == "INSERT" else "false"
    found = owner.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        f" AND (has_table_privilege(%(role)s, oid, %(right)s) OR {columns})",
        {"role": role, "right": right},
    )
    assert {table for (table,) in found} == expected


EXECUTED = {
    "mythos_gate_service": {"export_assessment"},
    "mythos_gate_reader": set(),
    "mythos_gate_office": {"bump_revision"},
    "mythos_gate_tenant": {"bump_revision"},
    "mythos_gate_tenant_reader": set(),
}


@pytest.mark.parametrize("role", EXECUTED)
def test_nationality_has_one_way_in(owner, role):
    # The office knows which requests wait there, to forget them.
    apart = owner.execute(
        "SELECT relname, EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND attname <> 'change_request_id'"
        " AND NOT attisdropped AND has_column_privilege(%s, attrelid, attnum, 'SELECT, INSERT, UPDATE')) FROM pg_class c"
        " WHERE relkind = 'r' AND relname ~ '^(nationality|export)_|_contents$'",
        [role],
    )
    assert dict(apart.fetchall()) == dict.fromkeys(
        ("change_request_contents", "export_assessments", "export_assessments_history", "nationality_commitments", "nationality_records",
         "nationality_records_history", "policy_report_contents"), False
    )  # fmt: skip
    functions = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(%s, oid, 'EXECUTE')"
    assert EXECUTED[role] == {name for (name,) in owner.execute(functions, [role])}


def test_an_assessment_is_of_one_person_and_unknown_without_a_record(owner, office):
    person = "INSERT INTO people (id, organization_id, external_id, status, employment) VALUES ('{0}', 'org_1', '{0}', 'active', 'employee')"
    changed(office, ORGANIZATION, person.format("per_1"), person.format("per_2"))
    with owner.transaction():
        owner.execute("INSERT INTO export_assessments (person_id, us_person) VALUES ('per_1', 'no')")
        owner.execute(
            "INSERT INTO nationality_records (id, person_id, kind, country, country_text) VALUES ('n', 'per_1', 'citizenship', 'CA', 'CA')"
        )
        owner.execute(*bump())
    assessed = [office.execute("SELECT export_assessment(%s)", [each]).fetchone()[0] for each in ("per_1", "per_2")]
    assert [(each["us_person"], len(each["nationalities"])) for each in assessed] == [("no", 1), ("unknown", 0)]


@pytest.mark.anyio
async def test_the_running_services_own_connections_act_under_their_roles(service):
    """The owner's rights end where SET ROLE begins: this asks the connections themselves."""
    assert (await service.ask(question())).status_code == 200
    denied, erase = "permission denied for table log_entries", "DELETE FROM log_entries"
    for engine in (service.gate.registry.engine, service.gate.reader):
        async with engine.connect() as connection:
            with pytest.raises(ProgrammingError, match=denied):
                await connection.execute(text(erase))
    async with service.gate.pdp._pool.acquire() as connection:
        for asked in (connection, service.gate.pdp._committer._connection):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=denied):
                await asked.execute(erase)
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="nationality_records"):
                await asked.execute("SELECT * FROM nationality_records")


@pytest.mark.parametrize("statement", ["UPDATE {} SET type = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_not_even_the_owner_changes_the_log_or_one_of_its_partitions(office, owner, statement):
    changed(office)
    (partition,) = owner.execute("SELECT tableoid::regclass::text FROM log_entries").fetchone()
    for table in ("log_entries", partition):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            owner.execute(statement.format(table))
    assert owner.execute("SELECT count(*) FROM log_entries").fetchall() == [(1,)]


def test_the_reader_reads_the_log_and_no_nationality(database, office):
    changed(office)
    with psycopg.connect(database, options="-c role=mythos_gate_reader") as reader:
        assert reader.execute("SELECT count(*) FROM log_entries").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT * FROM nationality_records")
        reader.rollback()
        for table in ("api_keys", "api_keys_history"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"SELECT hash FROM {table}")
            reader.rollback()


def test_partitions_reach_a_year_ahead(owner):
    assert owner.execute("SELECT log_partitions_ahead()").fetchone() == (13,)
    owner.execute("SELECT make_log_partitions('2020-01-01', 3)")
    assert owner.execute("SELECT log_partitions_ahead()").fetchone() == (13,)


def test_a_server_that_is_too_old_is_told(database, monkeypatch):
    monkeypatch.setattr(db, "OLDEST", 990000)
    with pytest.raises(Misconfigured, match="Postgres 18 or later is needed"):
        db.upgrade(database)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"])
def test_every_usual_scheme_of_a_url_is_taken(scheme):
    url = f"{scheme}://u:p%40w@h/d"
    assert db.sqlalchemy_url(url) == "postgresql+psycopg://u:p%40w@h/d"
    assert db.asyncpg_url(url) == "postgresql://u:p%40w@h/d"


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("grants (id, authority_id, organization_id, model_id, reference, status, not_before, not_after, versions, capabilities, purposes, foreign_nationals, excluded_groups, nationality_basis, allowed_countries, contractors, agents)",
         "'g', 'a', 'org_1', 'm', 'r', 'active', now(), now(), '{}', '{}', '{}', 'none', '{}', 'strict_any_current', '{}', false, false"),
        ("ownerships", "'org_1', 'o', 101, false, false"),
        ("organizations (id, slug, name, status)", "'o', 's', 'n', 'actve'"),
        ("stops (id, scope)", "'s', 'model'"),
        ("stops (id, scope, organization_id)", "'s', 'organization', 'org_1'"),
        ("callers", "'c', 'n', 'person', '{root}'"),
        ("switches", "'affiliates_rule', now(), now(), 'swi_1'"),
        ("organizations (id, slug, name, status)", "'o', 'a/b', 'n', 'active'"),
        ("people (id, organization_id, external_id, status, employment)", "'p', 'org_1', 'a/b', 'active', 'employee'"),
        ("people (id, organization_id, external_id, status, employment, review_due)", "'p', 'org_1', 'p', 'active', 'employee', 'infinity'"),
        ("models (id, authority_id, name, versions, capabilities)", "'m', 'a', 'M', '{5.1,five}', '{c}'"),
        ("nationality_records", "'n', 'p', 'citizenship', 'CA', 'CA', '2001-01-01', '2000-01-01'"),
        ("callers", "'c', '', 'person', '{gateway}'"),
    ],
    ids=["a grant that ends as it starts", "over 100 percent", "an unknown status", "a stop without its target", "a lock without an incident", "an unknown role", "an empty window", "a slash in a slug", "a slash in an external id", "a time without end", "a version that is none", "a citizenship that ended before it began", "a key for nobody"],
)  # fmt: skip
def test_the_database_refuses(owner, table, values):
    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute(f"INSERT INTO {table} VALUES ({values})")


def test_one_incident_stops_a_target_once(owner):
    with pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute("INSERT INTO stops (id, scope) VALUES ('s1', 'everything'), ('s2', 'everything')")


def test_a_seat_is_of_the_grants_own_organization(office):
    changed(
        office,
        ORGANIZATION,
        ORGANIZATION.replace("org_1", "org_2").replace("'acme'", "'other'"),
        "INSERT INTO people (id, organization_id, external_id, status, employment) VALUES ('per_1', 'org_1', 'e', 'active', 'employee')",
        "INSERT INTO authorities (id, slug, name, kind) VALUES ('aut_1', 'v', 'V', 'vendor')",
        "INSERT INTO models VALUES ('m', 'aut_1', 'M', '{}', '{}')",
        "INSERT INTO grants (id, authority_id, organization_id, model_id, reference, status, not_before, versions, capabilities, purposes, foreign_nationals, excluded_groups, nationality_basis, allowed_countries, contractors, agents)"
        " VALUES ('g', 'aut_1', 'org_2', 'm', 'r', 'active', now(), '{}', '{}', '{}', 'none', '{}', 'strict_any_current', '{}', false, false)",
    )
    for organization in ("org_1", "org_2"):
        with pytest.raises(psycopg.errors.ForeignKeyViolation), office.transaction():
            office.execute("INSERT INTO seats VALUES ('g', 'per_1', %s)", [organization])


def test_an_agents_sponsor_is_of_its_own_organization(office):
    changed(
        office,
        ORGANIZATION,
        ORGANIZATION.replace("org_1", "org_2").replace("'acme'", "'other'"),
        "INSERT INTO people (id, organization_id, external_id, status, employment) VALUES ('per_1', 'org_1', 'e', 'active', 'employee')",
    )
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        office.execute(
            "INSERT INTO agents (id, organization_id, external_id, sponsor_id, status, scopes) VALUES ('agt_1', 'org_2', 'a', 'per_1', 'active', '{}')"
        )
