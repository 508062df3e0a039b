"""The promises of the schema, asked of a real Postgres under the roles that the service uses."""

import psycopg
import pytest

from mythos_gate import db, tables
from mythos_gate.audit.entry import REGISTRY_PLACE, leaf_hash, template

PARTS = list(template({"v": 1, "type": "test", "salt": "aa"}, REGISTRY_PLACE))
ORGANIZATION = "INSERT INTO organizations (id, slug, name, status) VALUES ('org_1', 'acme', 'Acme', 'active')"
BUMP = "SELECT bump_revision(uuidv7(), 'test', %s)"


@pytest.fixture
def owner(database):
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def as_service(database):
    with psycopg.connect(database, options="-c role=mythos_gate_service") as connection:
        yield connection


def changed(connection, *statements):
    for statement in statements:
        connection.execute(statement)
    (n,) = connection.execute(BUMP, [PARTS]).fetchone()
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


def test_a_change_without_a_bump_is_refused_at_commit(as_service):
    as_service.execute(ORGANIZATION)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=r"organization:org_1|organization-name:acme"):
        as_service.commit()


def test_a_change_after_the_bump_is_refused_too(as_service):
    as_service.execute(ORGANIZATION)
    as_service.execute(BUMP, [PARTS])
    as_service.execute("UPDATE organizations SET status = 'suspended'")
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        as_service.commit()


def test_a_bump_stamps_the_keys_of_the_old_and_the_new_row(as_service, owner):
    changed(as_service, ORGANIZATION)
    n = changed(as_service, "UPDATE organizations SET slug = 'acme-two'")
    stamped = owner.execute("SELECT key FROM touched WHERE n = %s", [n]).fetchall()
    assert {"organization:org_1", "organization-name:acme", "organization-name:acme-two"} == {key for (key,) in stamped}


def test_more_than_a_thousand_keys_become_one_that_counts_as_all(as_service, owner):
    changed(as_service, ORGANIZATION)
    n = changed(
        as_service,
        "INSERT INTO people (id, organization_id, external_id, status, employment)"
        " SELECT 'per_' || i, 'org_1', i::text, 'active', 'employee' FROM generate_series(1, 501) i",
    )
    assert [("*", n)] == owner.execute("SELECT key, n FROM touched WHERE n = %s OR n IS NULL", [n]).fetchall()


def test_a_rolled_back_change_leaves_nothing(as_service, owner):
    as_service.execute(ORGANIZATION)
    as_service.execute(BUMP, [PARTS])
    as_service.rollback()
    counts = owner.execute(
        "SELECT (SELECT n FROM revision), (SELECT count(*) FROM touched), (SELECT count(*) FROM log_entries), (SELECT count(*) FROM organizations_history)"
    )
    assert counts.fetchone() == (0, 0, 0, 0)


def test_a_bump_writes_one_entry_that_names_the_last(as_service, owner):
    for number in range(3):
        assert number + 1 == changed(as_service)
    rows = owner.execute("SELECT n, leaf, body FROM log_entries ORDER BY n").fetchall()
    previous = None
    for n, leaf, body in rows:
        assert leaf == leaf_hash(body)
        assert f'"n":{n},"prev":{"null" if previous is None else chr(34) + previous.hex() + chr(34)},' in body.decode()
        previous = leaf


def test_the_past_of_a_row_can_be_asked(as_service, owner):
    changed(as_service, ORGANIZATION)
    (between,) = owner.execute("SELECT clock_timestamp()").fetchone()
    changed(as_service, "UPDATE organizations SET status = 'suspended'")
    past = owner.execute("SELECT status FROM organizations_history WHERE id = 'org_1' AND valid @> %s", [between])
    now = owner.execute("SELECT status FROM organizations_history WHERE id = 'org_1' AND upper_inf(valid)")
    assert past.fetchall() == [("active",)]
    assert now.fetchall() == [("suspended",)]


def test_two_changes_of_one_row_in_one_transaction_do_not_overlap(as_service, owner):
    changed(as_service, ORGANIZATION, "UPDATE organizations SET name = 'B'", "UPDATE organizations SET name = 'C'")
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
    ],
)
def test_the_service_may_not(as_service, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_service.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE {} SET type = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_not_even_the_owner_changes_the_log_or_one_of_its_partitions(as_service, owner, statement):
    changed(as_service)
    (partition,) = owner.execute("SELECT tableoid::regclass::text FROM log_entries").fetchone()
    for table in ("log_entries", partition):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            owner.execute(statement.format(table))
    assert owner.execute("SELECT count(*) FROM log_entries").fetchall() == [(1,)]


def test_the_reader_reads_the_log_and_no_nationality(database, as_service):
    changed(as_service)
    with psycopg.connect(database, options="-c role=mythos_gate_reader") as reader:
        assert reader.execute("SELECT count(*) FROM log_entries").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT * FROM nationality_records")
        reader.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT * FROM api_keys")


def test_partitions_reach_a_year_ahead(owner):
    assert owner.execute("SELECT log_partitions_ahead()").fetchone() == (13,)


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
        ("switches", "'affiliates_rule', now(), now()"),
    ],
    ids=["a grant that ends as it starts", "over 100 percent", "an unknown status", "a stop without its target", "a lock without an incident", "an unknown role", "an empty window"],
)  # fmt: skip
def test_the_database_refuses(owner, table, values):
    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute(f"INSERT INTO {table} VALUES ({values})")


def test_an_agents_sponsor_is_of_its_own_organization(as_service):
    changed(
        as_service,
        ORGANIZATION,
        ORGANIZATION.replace("org_1", "org_2").replace("'acme'", "'other'"),
        "INSERT INTO people (id, organization_id, external_id, status, employment) VALUES ('per_1', 'org_1', 'e', 'active', 'employee')",
    )
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        as_service.execute(
            "INSERT INTO agents (id, organization_id, external_id, sponsor_id, status, scopes) VALUES ('agt_1', 'org_2', 'a', 'per_1', 'active', '{}')"
        )
