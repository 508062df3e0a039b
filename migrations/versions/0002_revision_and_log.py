"""The revision, touched keys with their triggers, history, the log's protection, and the roles."""

from alembic import op

revision = "0002"
down_revision = "0001"

# Table -> (its primary key, the keys that a row touches, as SQL over the row r).
ORGANIZATION = "ARRAY['organization:' || r.organization_id]"
PERSON = "ARRAY['person:' || r.person_id]"
GLOBAL = "ARRAY['global']"
KEPT = {
    "authorities": ("id", GLOBAL),
    "models": ("id", GLOBAL),
    "organizations": ("id", "ARRAY['organization:' || r.id, 'organization-name:' || r.slug]"),
    "ownerships": ("organization_id, owner", ORGANIZATION),
    "organization_screenings": ("organization_id", ORGANIZATION),
    "grants": ("id", ORGANIZATION),
    "directives": ("id", GLOBAL),
    "directive_exemptions": ("directive_id, organization_id", GLOBAL),
    "people": ("id", "ARRAY['person:' || r.id, 'person-name:' || r.organization_id || '/' || r.external_id]"),
    "approvals": ("person_id, approver", PERSON),
    "person_screenings": ("person_id", PERSON),
    "export_assessments": ("person_id", PERSON),
    "nationality_records": ("id", PERSON),
    "agents": ("id", "ARRAY['agent:' || r.id, 'agent-name:' || r.organization_id || '/' || r.external_id]"),
    "endpoints": ("id", "ARRAY['endpoint:' || r.id, 'endpoint-name:' || r.organization_id || '/' || r.external_id]"),
    "grant_listed_people": ("grant_id, person_id", PERSON),
    "seats": ("grant_id, person_id", PERSON),
    "stops": (
        "id",
        (
            "ARRAY[CASE r.scope WHEN 'organization' THEN 'organization:' || r.organization_id"
            " WHEN 'person' THEN 'person:' || r.person_id WHEN 'endpoint' THEN 'endpoint:' || r.endpoint_id"
            " ELSE 'global' END]"
        ),
    ),
    "break_glasses": ("id", ORGANIZATION),
    "switches": ("name, starts_at", GLOBAL),
    "data_sets": ("id", GLOBAL),
    "programme": ("one", GLOBAL),
    "callers": ("id", "ARRAY['caller:' || r.id]"),
    "api_keys": ("id", "ARRAY['key:' || r.id]"),
}
NATIONALITY = ("export_assessments", "nationality_records")
WRITABLE = (
    "authorities", "models", "organizations", "ownerships", "organization_screenings", "grants", "directives",
    "directive_exemptions", "people", "approvals", "person_screenings", "agents", "endpoints", "grant_listed_people",
    "seats", "seat_counts", "stops", "break_glasses", "switches", "data_sets", "jurisdictions", "policy_revisions",
    "programme", "callers", "api_keys", "proposals",
)  # fmt: skip
# Lists that belong to one record and are replaced as a whole. Nothing else is ever deleted.
REPLACEABLE = ("ownerships", "approvals", "grant_listed_people", "directive_exemptions", "seats")

FUNCTIONS = """
INSERT INTO revision (n) VALUES (0);
INSERT INTO revision_stamps (n) VALUES (0);
INSERT INTO programme DEFAULT VALUES;

-- Writes down that this transaction touches the keys; the bump stamps them. More than 1,000 become '*', which counts
-- as all: each row costs a deferred check at COMMIT, under the revision's lock.
CREATE FUNCTION touch_keys(keys text[]) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE mine text := pg_current_xact_id()::text;
BEGIN
  IF EXISTS (SELECT FROM touched WHERE xid = mine AND key = '*' AND n IS NULL) THEN
    RETURN;
  END IF;
  IF cardinality(keys) + (SELECT count(*) FROM touched WHERE xid = mine AND n IS NULL) > 1000 THEN
    DELETE FROM touched WHERE xid = mine AND n IS NULL;
    keys := ARRAY['*'];
  END IF;
  INSERT INTO touched (xid, key)
  SELECT mine, key FROM (SELECT DISTINCT unnest(keys) AS key) AS named WHERE key IS NOT NULL
  ON CONFLICT (xid, key) WHERE n IS NULL DO NOTHING;
END $$;

-- On every table that records are read from: the keys of the old and the new rows.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE named text[];
BEGIN
  IF TG_OP <> 'INSERT' THEN
    EXECUTE format('SELECT array_agg(DISTINCT k) FROM old_rows r, unnest(%s) k', TG_ARGV[0]) INTO named;
    PERFORM touch_keys(named);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    EXECUTE format('SELECT array_agg(DISTINCT k) FROM new_rows r, unnest(%s) k', TG_ARGV[0]) INTO named;
    PERFORM touch_keys(named);
  END IF;
  RETURN NULL;
END $$;

-- Each version of a row with the time in which it held: [from, until). An update ends one and begins the next.
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  past text := TG_TABLE_NAME || '_history';
  keys text := TG_ARGV[0];
  closed text := format(
    'UPDATE %I h SET valid = tstzrange(lower(h.valid), greatest($1, lower(h.valid) + interval ''1 microsecond''))'
    ' FROM old_rows r WHERE %s AND upper_inf(h.valid) RETURNING h.*', past,
    (SELECT string_agg(format('h.%1$I = r.%1$I', k), ' AND ') FROM unnest(string_to_array(keys, ', ')) AS k));
  opened text :=
    'INSERT INTO %1$I SELECT (jsonb_populate_record(NULL::%1$I, to_jsonb(r) || jsonb_build_object(''valid'','
    ' tstzrange(%2$s, NULL)))).* FROM new_rows r';
BEGIN
  IF TG_OP = 'INSERT' THEN
    EXECUTE format(opened, past, '$1') USING clock_timestamp();
  ELSIF TG_OP = 'DELETE' THEN
    EXECUTE closed USING clock_timestamp();
  ELSE
    EXECUTE 'WITH closed AS (' || closed || ') '
      || format(opened, past, 'coalesce(upper(closed.valid), $1)')
      || format(' LEFT JOIN closed USING (%s)', keys) USING clock_timestamp();
  END IF;
  RETURN NULL;
END $$;

-- Its plan is kept from the first call, when the table is small: never a scan.
CREATE FUNCTION refuse_unstamped() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  IF EXISTS (SELECT FROM touched WHERE id = NEW.id AND n IS NULL) THEN
    RAISE EXCEPTION 'key % was touched without a bump of the revision', NEW.key USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER stamped AFTER INSERT ON touched DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION refuse_unstamped();
ALTER TABLE touched ENABLE ALWAYS TRIGGER stamped;

-- The last statement of every administrative transaction. It takes the revision's row lock, so COMMIT must follow
-- at once. `parts` is the entry's canonical body, cut where `at`, `n` and `prev` belong: this writer is one, and
-- only under the lock are they known.
CREATE FUNCTION bump_revision(entry_id uuid, entry_type text, parts text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  bumped revision%ROWTYPE;
  mine text := pg_current_xact_id()::text;
  at timestamptz;
  entry bytea;
  hash bytea;
BEGIN
  IF cardinality(parts) IS DISTINCT FROM 4 THEN
    RAISE EXCEPTION 'a registry entry comes in four parts';
  END IF;
  UPDATE revision SET n = n + 1 RETURNING * INTO bumped;
  INSERT INTO revision_stamps (n) VALUES (bumped.n);
  UPDATE touched SET n = bumped.n WHERE xid = mine AND n IS NULL;
  at := clock_timestamp();
  entry := convert_to(
    parts[1] || to_char(at AT TIME ZONE 'UTC', '"\\""YYYY-MM-DD"T"HH24:MI:SS.US"Z\\""') || parts[2] || bumped.n
    || parts[3] || coalesce('"' || encode(bumped.leaf, 'hex') || '"', 'null') || parts[4], 'UTF8');
  hash := sha256('\\x00'::bytea || entry);
  INSERT INTO log_entries (id, at, type, writer, n, leaf, body)
  VALUES (entry_id, at, entry_type, 'registry', bumped.n, hash, entry);
  UPDATE revision SET leaf = hash;
  RETURN bumped.n;
END $$;

-- The PDP's only way to nationality: what facts need of one person, and nothing else.
CREATE FUNCTION export_assessment(person text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT jsonb_build_object(
    'us_person', coalesce(a.us_person, 'unknown'), 'us_basis', a.us_basis, 'evidence_expires', a.evidence_expires,
    'nationalities', (SELECT coalesce(jsonb_agg(jsonb_build_object(
      'kind', r.kind, 'country', r.country, 'acquired', r.acquired, 'ended', r.ended)), '[]')
      FROM nationality_records r WHERE r.person_id = person))
  FROM (SELECT person) AS p LEFT JOIN export_assessments a ON a.person_id = p.person
$$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
-- Named by their content, so nothing of them ever changes.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON policy_revisions FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON jurisdictions FOR EACH ROW EXECUTE FUNCTION refuse_change();
ALTER TABLE policy_revisions ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE jurisdictions ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON log_entries FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON log_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE log_entries ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE log_entries ENABLE ALWAYS TRIGGER no_truncate;

-- Partitions by month. Statement triggers are not inherited, so each gets its own.
CREATE FUNCTION make_log_partitions(first date, months int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE month date; name text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('make_log_partitions'));
  FOR i IN 0..months - 1 LOOP
    month := (date_trunc('month', first) + make_interval(months => i))::date;
    name := 'log_entries_' || to_char(month, 'YYYY_MM');
    CONTINUE WHEN to_regclass(name) IS NOT NULL;
    EXECUTE format('CREATE TABLE %I PARTITION OF log_entries FOR VALUES FROM (%L) TO (%L)', name,
      month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER no_truncate', name);
  END LOOP;
END $$;

-- How many months from now on have a partition.
CREATE FUNCTION log_partitions_ahead() RETURNS bigint LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT count(*) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
  WHERE inhparent = 'log_entries'::regclass
  AND relname >= 'log_entries_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')
$$;
SELECT make_log_partitions(current_date, 13);
"""

ROLES = """
DO $$
DECLARE role text;
BEGIN
  -- Roles belong to the cluster: another database, migrated at the same time, may make them first.
  PERFORM pg_advisory_xact_lock(hashtext('mythos_gate roles'));
  FOREACH role IN ARRAY ARRAY['mythos_gate_service', 'mythos_gate_reader', 'mythos_gate_compliance'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    IF NOT pg_has_role(current_user, role, 'SET') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', role);
    END IF;
  END LOOP;
  IF NOT pg_has_role('mythos_gate_compliance', 'mythos_gate_service', 'USAGE') THEN
    GRANT mythos_gate_service TO mythos_gate_compliance;
  END IF;
END $$;
"""

GRANTS = """
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO mythos_gate_service, mythos_gate_reader;
GRANT SELECT, INSERT, UPDATE ON {writable} TO mythos_gate_compliance;
GRANT DELETE ON {replaceable} TO mythos_gate_compliance;
GRANT SELECT ON {judged} TO mythos_gate_service;
GRANT SELECT (id, organization_id, external_id, status, employment, training_expires, acceptable_use,
  technology_control_plan, requested_by, review_due) ON people TO mythos_gate_service;
GRANT SELECT ON revision, revision_stamps, touched TO mythos_gate_service, mythos_gate_reader;
GRANT INSERT (id, at, type, writer, n, leaf, body) ON log_entries TO mythos_gate_service;
GRANT EXECUTE ON FUNCTION export_assessment TO mythos_gate_service;
GRANT EXECUTE ON FUNCTION bump_revision, make_log_partitions, log_partitions_ahead TO mythos_gate_compliance;
-- The PDP writes as itself: entries of the registry come from bump_revision alone.
ALTER TABLE log_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY pdp ON log_entries FOR INSERT TO mythos_gate_service WITH CHECK (writer LIKE 'pdp-%');
CREATE POLICY reader ON log_entries FOR SELECT TO mythos_gate_reader USING (true);
GRANT SELECT ON {readable}, log_entries TO mythos_gate_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON export_assessments, nationality_records, nationality_commitments TO mythos_gate_compliance;
GRANT SELECT ON export_assessments_history, nationality_records_history, grants_history TO mythos_gate_compliance;
"""

TRIGGER = """
CREATE TRIGGER {name}_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION {name}({argument});
CREATE TRIGGER {name}_update AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION {name}({argument});
CREATE TRIGGER {name}_delete AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION {name}({argument});
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}_insert;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}_update;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}_delete;
"""


def run(sql: str) -> list[tuple[str, ...]]:
    """Past SQLAlchemy, which would take every percent sign for a parameter."""
    cursor = op.get_bind().connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall()) if cursor.description else []


def upgrade() -> None:
    run("CREATE EXTENSION IF NOT EXISTS btree_gist")
    for table, (primary_key, _) in KEPT.items():
        run(f"CREATE TABLE {table}_history (LIKE {table}, valid tstzrange NOT NULL)")
        _loosen(table, primary_key)
        run(
            f"ALTER TABLE {table}_history ADD CONSTRAINT pk_{table}_history"
            f" PRIMARY KEY ({primary_key}, valid WITHOUT OVERLAPS)"
        )
        run(f"CREATE UNIQUE INDEX ix_{table}_history_open ON {table}_history ({primary_key}) WHERE upper_inf(valid)")
    run(FUNCTIONS)
    for table, (primary_key, keys) in KEPT.items():
        run(_trigger("touch", table, keys))
        run(_trigger("keep", table, primary_key))
    run("INSERT INTO programme_history SELECT *, tstzrange(clock_timestamp(), NULL) FROM programme")
    run(ROLES)
    schema = run("SELECT quote_ident(current_schema())")[0][0]
    past = [f"{table}_history" for table in KEPT if table not in (*NATIONALITY, "api_keys")]
    run(
        GRANTS.format(
            schema=schema,
            writable=", ".join(WRITABLE),
            replaceable=", ".join(REPLACEABLE),
            judged=", ".join(table for table in WRITABLE if table not in ("people", "proposals")),
            readable=", ".join([table for table in WRITABLE if table != "api_keys"] + past),
        )
    )


def _loosen(table: str, primary_key: str) -> None:
    """A later version may lack what an earlier one had to have."""
    for (column,) in run(
        f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}_history'::regclass AND attnum > 0 AND attnotnull"
    ):
        if column not in {*primary_key.split(", "), "valid"}:
            run(f"ALTER TABLE {table}_history ALTER COLUMN {column} DROP NOT NULL")


def _trigger(name: str, table: str, argument: str) -> str:
    quoted = "'" + argument.replace("'", "''") + "'"
    return TRIGGER.format(name=name, table=table, argument=quoted)


def downgrade() -> None:
    for table in KEPT:
        for operation in ("insert", "update", "delete"):
            run(f"DROP TRIGGER keep_{operation} ON {table}; DROP TRIGGER touch_{operation} ON {table}")
    for table in KEPT:
        run(f"DROP TABLE {table}_history")
    run(
        "DROP TRIGGER stamped ON touched; DROP TRIGGER append_only ON log_entries;"
        "DROP TRIGGER no_truncate ON log_entries; DROP TRIGGER append_only ON policy_revisions;"
        "DROP TRIGGER append_only ON jurisdictions; DROP POLICY pdp ON log_entries; DROP POLICY reader ON log_entries;"
        "ALTER TABLE log_entries DISABLE ROW LEVEL SECURITY;"
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'log_entries'::regclass LOOP EXECUTE 'DROP TABLE ' || name; END LOOP; END $$;"
        "DROP FUNCTION touch_keys, touch, keep, refuse_unstamped, bump_revision, export_assessment, refuse_change,"
        " make_log_partitions, log_partitions_ahead;"
        "DELETE FROM programme; DELETE FROM revision; DELETE FROM revision_stamps"
    )
    # The roles stay: they belong to the cluster, and another database may use them.
