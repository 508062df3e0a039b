"""The records of any day, under the names of the tables: what decisions are made of can be read as it was."""

from alembic import op

revision = "0016"
down_revision = "0015"

TABLES = (
    "authorities", "models", "organizations", "ownerships", "organization_screenings", "grants", "directives",
    "directive_exemptions", "people", "approvals", "person_screenings", "agents", "endpoints", "grant_listed_people",
    "seats", "stops", "break_glasses", "switches", "data_sets", "programme", "rollouts",
)  # fmt: skip
AT = "valid @> current_setting('mythos_gate.as_of')::timestamptz"
# The same as `export_assessment` of today. What was erased is not there any more.
ASSESSMENT = """
CREATE FUNCTION past.export_assessment(person text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
  SELECT jsonb_build_object(
    'us_person', coalesce(a.us_person, 'unknown'), 'us_basis', a.us_basis, 'evidence_expires', a.evidence_expires,
    'nationalities', (SELECT coalesce(jsonb_agg(jsonb_build_object(
      'kind', r.kind, 'country', r.country, 'acquired', r.acquired, 'ended', r.ended)), '[]')
      FROM nationality_records_history r WHERE r.person_id = person AND {at}))
  FROM (SELECT person) AS p LEFT JOIN (SELECT * FROM export_assessments_history WHERE {at}) a ON a.person_id = p.person
$$;
REVOKE ALL ON FUNCTION past.export_assessment FROM PUBLIC;
GRANT USAGE ON SCHEMA past TO mythos_gate_compliance;
GRANT SELECT ON ALL TABLES IN SCHEMA past TO mythos_gate_compliance;
GRANT EXECUTE ON FUNCTION past.export_assessment TO mythos_gate_compliance;
"""
COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped
"""


def run(sql: str) -> list[tuple[str, ...]]:
    """Past SQLAlchemy, which would take every percent sign for a parameter."""
    cursor = op.get_bind().connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall()) if cursor.description else []


def upgrade() -> None:
    [(schema,)] = run("SELECT quote_ident(current_schema())")
    run("CREATE SCHEMA past")
    for table in TABLES:
        [(columns,)] = run(COLUMNS.format(table))
        run(f"CREATE VIEW past.{table} AS SELECT {columns} FROM {table}_history WHERE {AT}")
    run("CREATE VIEW past.seat_counts AS SELECT grant_id, count(*)::integer AS used FROM past.seats GROUP BY grant_id")
    run(ASSESSMENT.format(schema=schema, at=AT))


def downgrade() -> None:
    run("DROP SCHEMA past CASCADE")
