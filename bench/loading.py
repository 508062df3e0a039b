"""A generated programme by COPY: what `mythos-gate import` would have made of the large files, in a minute.

The files go into temporary tables as they are; one statement then fills each table from them. Triggers that keep the
past and note touched keys are off meanwhile; what they would have done is done after.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection, sql

from mythos_gate import generate, tables
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.registry import imports, jurisdictions, policies
from mythos_gate.registry.change import Change, Registry
from mythos_gate.settings import root

ACTOR = "bench"

# Of the kinds that a generated programme has: these are copied, the few rows of the others imported.
COPIED = ("people", "agents", "endpoints", "screenings")

# An id is a function of the name, so that nothing has to be looked up, and the first ids are a random sample.
FUNCTIONS = """
CREATE FUNCTION pg_temp.person(organization text, name text) RETURNS text LANGUAGE sql IMMUTABLE
  RETURN 'per_' || md5(organization || '/' || name);
CREATE FUNCTION pg_temp.at(relative text) RETURNS timestamptz LANGUAGE sql STABLE
  RETURN now() + substring(relative FROM 4)::interval;
CREATE FUNCTION pg_temp.list(cell text) RETURNS text[] LANGUAGE sql IMMUTABLE
  RETURN coalesce(string_to_array(cell, ';'), '{}');
"""

# By table, in the order of reference. `s` is the file's row, `o` its organization.
OF_ORGANIZATION = "JOIN organizations o ON o.slug = s.organization"
TABLES = {
    "people": f"""
INSERT INTO people (id, organization_id, external_id, name, email, work_country, work_country_text, status, employment,
  training_expires, acceptable_use, technology_control_plan, requested_by, review_due)
SELECT pg_temp.person(s.organization, s.external_id), o.id, s.external_id, s.name, s.email, s.work_country,
  s.work_country, s.status, s.employment, pg_temp.at(s.training_expires), s.acceptable_use = 'yes',
  s.technology_control_plan = 'yes', s.requested_by, pg_temp.at(s.review_due)
FROM people_file s {OF_ORGANIZATION}""",
    "approvals": """
INSERT INTO approvals (person_id, approver)
SELECT DISTINCT pg_temp.person(s.organization, s.external_id), unnest(pg_temp.list(s.approvals)) FROM people_file s""",
    "export_assessments": """
INSERT INTO export_assessments (person_id, us_person, us_basis, evidence_expires)
SELECT pg_temp.person(s.organization, s.external_id), s.us_person, s.us_basis, pg_temp.at(s.evidence_expires)
FROM people_file s""",
    "nationality_records": """
INSERT INTO nationality_records (id, person_id, kind, country, country_text, acquired)
SELECT 'nat_' || md5(h.person || h.kind || h.held), h.person, h.kind, split_part(h.held, '@', 1),
  split_part(h.held, '@', 1), nullif(split_part(h.held, '@', 2), '')::date
FROM (SELECT DISTINCT pg_temp.person(s.organization, s.external_id) AS person, k.kind, unnest(k.held) AS held
      FROM people_file s, LATERAL (VALUES ('citizenship', pg_temp.list(s.citizenships)),
        ('permanent_residency', pg_temp.list(s.permanent_residencies))) AS k (kind, held)) h""",
    "agents": f"""
INSERT INTO agents (id, organization_id, external_id, name, sponsor_id, status, scopes, expires_at, runtime_country,
  runtime_country_text, depth)
SELECT 'agt_' || md5(s.organization || '/' || s.external_id), o.id, s.external_id, s.name,
  pg_temp.person(s.organization, s.sponsor), s.status, pg_temp.list(s.scopes), pg_temp.at(s.expires),
  s.runtime_country, s.runtime_country, s.depth::int
FROM agents_file s {OF_ORGANIZATION}""",
    "endpoints": f"""
INSERT INTO endpoints (id, organization_id, external_id, name, status, attested)
SELECT 'ept_' || md5(s.organization || '/' || s.external_id), o.id, s.external_id, s.name, s.status, s.attested = 'yes'
FROM endpoints_file s {OF_ORGANIZATION}""",
    "organization_screenings": f"""
INSERT INTO organization_screenings (organization_id, status, screened_at, list_version)
SELECT o.id, s.status, pg_temp.at(s.screened_at), s.list_version
FROM screenings_file s {OF_ORGANIZATION} WHERE s.person IS NULL""",
    "person_screenings": """
INSERT INTO person_screenings (person_id, status, screened_at, list_version)
SELECT pg_temp.person(s.organization, s.person), s.status, pg_temp.at(s.screened_at), s.list_version
FROM screenings_file s WHERE s.person IS NOT NULL""",
}

# A programme in use: whoever works holds a seat under each grant, while its cap lasts.
SEATS = """
INSERT INTO seats (grant_id, person_id, organization_id)
SELECT g.grant_id, g.person_id, g.organization_id FROM (
  SELECT g.id AS grant_id, p.id AS person_id, p.organization_id, g.seat_cap,
         row_number() OVER (PARTITION BY g.id ORDER BY p.id) AS place
  FROM grants g JOIN people p ON p.organization_id = g.organization_id
  WHERE g.seat_cap IS NOT NULL AND p.status = 'active' AND p.employment <> 'ended') g
WHERE g.place <= g.seat_cap"""
COUNTS = """
UPDATE seat_counts c SET used = s.used FROM (SELECT grant_id, count(*) AS used FROM seats GROUP BY grant_id) s
WHERE s.grant_id = c.grant_id"""
# `registry.nationality` for all at once, with what `export_assessment` says of each written out.
COMMITMENTS = """
INSERT INTO nationality_commitments (person_id, salt, commitment)
SELECT person_id, salt, sha256(salt || convert_to(said::text, 'UTF8')) FROM (
  SELECT a.person_id, substring(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) FOR 16) AS salt,
    jsonb_build_object('us_person', a.us_person, 'us_basis', a.us_basis, 'evidence_expires', a.evidence_expires,
      'nationalities', coalesce(r.records, '[]')) AS said
  FROM export_assessments a LEFT JOIN (
    SELECT person_id, jsonb_agg(jsonb_build_object('kind', kind, 'country', country, 'acquired', acquired,
      'ended', ended)) AS records
    FROM nationality_records GROUP BY person_id) r USING (person_id)) s"""
FILLED = (*TABLES, "seats")


async def fill(registry: Registry, folder: Path, *, seats: bool) -> None:
    """As the owner of an empty database: policy, data set, and the programme in the folder's files.

    With `seats` it is a programme in use; without, what an import makes of it. `keep` writes the past.
    """
    await activate(registry)
    files = list(generate.kinds(folder, imports.KINDS))
    for kind, path in files:
        if kind not in COPIED:
            async with registry.change("imported", ACTOR) as change:
                await imports.load(change, kind, path.read_bytes(), now=datetime.now(UTC), relative=True)
    async with registry.change("imported", ACTOR) as change:
        await _copy(change, [each for each in files if each[0] in COPIED], seats=seats)


async def activate(registry: Registry) -> None:
    files = read_files(root() / "policies")
    async with registry.change("policy_activated", ACTOR) as change:
        await policies.activate(change, Policy(files).sha256, files)
    data = (root() / "policies" / "jurisdictions.csv").read_bytes()
    async with registry.change("imported", ACTOR) as change:
        reviewed = datetime.now(UTC) - timedelta(days=5)
        await jurisdictions.load_data_set(change, data, version="bench", reviewed_at=reviewed)


async def _copy(change: Change, files: Iterable[tuple[str, Path]], *, seats: bool) -> None:
    """Fill the tables from files of `COPIED`, as the tables' owner and in the change's transaction."""
    raw = await change.connection.get_raw_connection()
    connection: AsyncConnection[Any] = raw.driver_connection  # type: ignore[assignment]
    await connection.execute("SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL work_mem = '128MB'")
    await connection.execute(FUNCTIONS)
    for kind, path in files:
        await _staged(connection, kind, path)
    # What refers to what is right by construction: foreign keys are not asked. Triggers that always fire are switched.
    await connection.execute("SET LOCAL session_replication_role = replica")
    for table, statement in TABLES.items():
        await _filled(connection, table, statement)
    if seats:
        await _filled(connection, "seats", SEATS)
        await connection.execute(COUNTS)
    await connection.execute(COMMITMENTS)
    await connection.execute("SELECT touch_keys(ARRAY['*'])")
    change.details |= {"kind": "copied"}


async def _filled(connection: AsyncConnection[Any], table: str, statement: str) -> None:
    switched = ("keep_insert", "touch_insert")
    for trigger in switched:
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}".encode())
    await connection.execute(statement.encode())
    for trigger in switched:
        await connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}".encode())


async def _staged(connection: AsyncConnection[Any], kind: str, path: Path) -> None:
    """Append a file to the temporary table of its kind, whose columns are the file's."""
    with path.open("rb") as file:
        names = file.readline().decode().strip().split(",")
        file.seek(0)
        columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in names)
        table = sql.Identifier(f"{kind}_file")
        await connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} ({}) ON COMMIT DROP").format(table, columns)
        )
        copy = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER match)").format(table)
        async with connection.cursor() as cursor, cursor.copy(copy) as target:
            while block := file.read(2**20):
                await target.write(block)


async def keep(url: str) -> None:
    """Write the first version of each copied row into the history, over two connections."""
    left = deque(FILLED)

    async def work() -> None:
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("SET maintenance_work_mem = '512MB'")
            while left:
                await _kept(connection, left.popleft())

    await asyncio.gather(work(), work())


async def _kept(connection: AsyncConnection[Any], table: str) -> None:
    """Fill the history without its indexes, which VACUUM FULL then builds: it trusts what is there.

    A new key would be compared with every row, in twenty times the time. Only a superuser may switch an index off; the
    embedded Postgres's owner is one.
    """
    columns = ", ".join(tables.metadata.tables[table].c.keys())
    ready = f"UPDATE pg_index SET indisready = {{}} WHERE indrelid = '{table}_history'::regclass"
    async with connection.transaction():
        await connection.execute(ready.format("false").encode())
        await connection.execute(
            f"INSERT INTO {table}_history ({columns}, valid)"
            f" SELECT {columns}, tstzrange(clock_timestamp(), NULL) FROM {table}".encode()
        )
        await connection.execute(ready.format("true").encode())
    await connection.execute(f"VACUUM FULL {table}_history".encode())
