"""Legal holds, and the erasure of a person whose records need not be kept any more."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ACTIONS = "'create', 'change', 'activate', 'lift', 'replace', 'adjudicate'"
STATUSES = "'active', 'suspended'"

FUNCTIONS = """
-- When anything on record of a person was changed last: retention counts from then.
CREATE FUNCTION last_change(person text) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT max(CASE WHEN upper_inf(valid) THEN lower(valid) ELSE upper(valid) END) FROM (
    SELECT valid FROM people_history WHERE id = person
    UNION ALL SELECT valid FROM approvals_history WHERE person_id = person
    UNION ALL SELECT valid FROM person_screenings_history WHERE person_id = person
    UNION ALL SELECT valid FROM export_assessments_history WHERE person_id = person
    UNION ALL SELECT valid FROM nationality_records_history WHERE person_id = person
    UNION ALL SELECT valid FROM grant_listed_people_history WHERE person_id = person
    UNION ALL SELECT valid FROM seats_history WHERE person_id = person
    UNION ALL SELECT valid FROM agents_history WHERE sponsor_id = person
  ) AS versions
$$;

-- And from the last decision about them, or about an agent that they sponsored then. The log has no index by subject,
-- for which every decision would pay: this reads all of it since then.
CREATE FUNCTION last_decision(person text, since timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT max(at) FROM log_entries
  WHERE at > since AND type = 'decision' AND position(convert_to('"person":"' || person || '"', 'UTF8') IN body) > 0
$$;

-- What names the person goes, from the past as well; in the records of others the gate's id stands for them. Every id
-- stays, so that the log and whatever refers to them holds good.
CREATE FUNCTION erase_person(gone text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  home text;
  place text;
  was text;
  alias text;  -- their name in the records of other organizations
  keys text[];
  salt bytea := substring(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) FOR 16);
BEGIN
  SELECT p.organization_id, o.slug, p.external_id INTO STRICT home, place, was
  FROM people p JOIN organizations o ON o.id = p.organization_id WHERE p.id = gone AND p.status <> 'erased';
  alias := place || '/' || was;
  keys := ARRAY(SELECT 'agent-name:' || organization_id || '/' || external_id FROM agents WHERE sponsor_id = gone)
    || ('person-name:' || home || '/' || was);
  INSERT INTO erased_people (person_id, organization_id, salt, digest)
  VALUES (gone, home, salt, sha256(salt || convert_to(was, 'UTF8')));
  PERFORM erase_own(gone);
  PERFORM erase_alias(gone, home, was, alias);
  -- What waits for a second officer, and what was decided. A tag is a hash of a record with its names.
  DELETE FROM assessment_proposals WHERE proposal_id IN (SELECT id FROM proposals WHERE reference = gone);
  UPDATE proposals SET etag = NULL WHERE reference = gone;
  UPDATE proposals SET members = members || jsonb_build_object('person', gone), etag = NULL
  WHERE resource = 'screenings' AND members->>'organization' = place AND members->>'person' = was;
  UPDATE proposals SET members = members || jsonb_build_object('listed_people',
    to_jsonb(array_replace(ARRAY(SELECT jsonb_array_elements_text(members->'listed_people')), was, gone)))
  WHERE resource = 'grants' AND members->'listed_people' ? was AND (members->>'organization' = place
    OR reference IN (SELECT id FROM grants WHERE organization_id = home));
  -- The list of touched keys holds names: every process is told to forget everything instead.
  DELETE FROM touched WHERE key = ANY (keys) OR xid = pg_current_xact_id()::text AND n IS NULL;
  PERFORM touch_keys(ARRAY['*']);
END $$;

-- On their own records, those of their agents, and who they are as a caller.
CREATE FUNCTION erase_own(gone text) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE listed text;
BEGIN
  DELETE FROM nationality_commitments WHERE person_id = gone;
  DELETE FROM grant_listed_people WHERE person_id = gone;
  FOREACH listed IN ARRAY ARRAY['nationality_records', 'export_assessments', 'person_screenings'] LOOP
    EXECUTE format('DELETE FROM %I WHERE person_id = $1', listed) USING gone;
    EXECUTE format('DELETE FROM %I WHERE person_id = $1', listed || '_history') USING gone;
  END LOOP;
  UPDATE agents SET status = 'revoked' WHERE sponsor_id = gone AND status <> 'revoked';
  UPDATE agents SET external_id = id, name = NULL, status_reason = NULL WHERE sponsor_id = gone;
  UPDATE agents_history SET external_id = id, name = NULL, status_reason = NULL
  WHERE id IN (SELECT id FROM agents WHERE sponsor_id = gone);
  UPDATE api_keys SET revoked_at = clock_timestamp()
  WHERE revoked_at IS NULL AND caller_id IN (SELECT id FROM callers WHERE person_id = gone);
  UPDATE callers SET name = id WHERE person_id = gone;
  UPDATE callers_history SET name = id WHERE person_id = gone;
  UPDATE people SET external_id = id, name = NULL, email = NULL, work_country = NULL, work_country_text = NULL,
    status = 'erased', status_reason = NULL, employment = 'ended', training_expires = NULL, acceptable_use = false,
    technology_control_plan = false, requested_by = NULL, review_due = NULL, obligations_evidence = NULL
  WHERE id = gone;
  UPDATE people_history SET external_id = id, name = NULL, email = NULL, work_country = NULL, work_country_text = NULL,
    status_reason = NULL, training_expires = NULL, acceptable_use = NULL, technology_control_plan = NULL,
    requested_by = NULL, review_due = NULL, obligations_evidence = NULL
  WHERE id = gone;
END $$;

-- Where they approved, requested, opened or reviewed something for others: one approval if they gave it twice.
CREATE FUNCTION erase_alias(gone text, home text, was text, alias text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE past text;
BEGIN
  WITH renamed AS (
    DELETE FROM approvals a USING people p
    WHERE p.id = a.person_id AND (a.approver = alias OR a.approver = was AND p.organization_id = home)
    RETURNING a.person_id
  ) INSERT INTO approvals (person_id, approver) SELECT person_id, gone FROM renamed ON CONFLICT DO NOTHING;
  WITH renamed AS (
    DELETE FROM approvals_history a USING people p
    WHERE p.id = a.person_id AND (a.approver = alias OR a.approver = was AND p.organization_id = home)
    RETURNING a.person_id, a.valid
  ) INSERT INTO approvals_history (person_id, approver, valid)
  SELECT person_id, gone, valid FROM renamed ON CONFLICT DO NOTHING;
  FOREACH past IN ARRAY ARRAY['', '_history'] LOOP
    EXECUTE format('UPDATE people%s SET requested_by = $1'
      ' WHERE requested_by = $2 OR requested_by = $3 AND organization_id = $4', past) USING gone, alias, was, home;
    -- Elsewhere their bare name is somebody else's.
    EXECUTE format('UPDATE break_glasses%s SET'
      ' opened_by = CASE WHEN opened_by = ANY (names.of) THEN $1 ELSE opened_by END,'
      ' reviewed_by = CASE WHEN reviewed_by = ANY (names.of) THEN $1 ELSE reviewed_by END,'
      ' approvers = array_replace(array_replace(approvers, names.of[1], $1), names.of[2], $1)'
      ' FROM (VALUES (true, ARRAY[$2, $3]), (false, ARRAY[$2, $2])) AS names (home, of)'
      ' WHERE names.home = (organization_id = $4)'
      ' AND array_append(array_append(approvers, opened_by), reviewed_by) && names.of', past)
      USING gone, alias, was, home;
  END LOOP;
END $$;

REVOKE ALL ON FUNCTION last_change, last_decision, erase_person, erase_own, erase_alias FROM PUBLIC;
GRANT EXECUTE ON FUNCTION last_change, last_decision, erase_person TO mythos_gate_compliance;
-- Nobody comes back: neither an import nor an officer changes what is left.
CREATE TRIGGER erased BEFORE UPDATE OR DELETE ON people FOR EACH ROW WHEN (OLD.status = 'erased')
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON erased_people FOR EACH ROW EXECUTE FUNCTION refuse_change();
ALTER TABLE people ENABLE ALWAYS TRIGGER erased;
ALTER TABLE erased_people ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT, INSERT, UPDATE ON legal_holds TO mythos_gate_compliance;
GRANT SELECT ON legal_holds TO mythos_gate_reader;
GRANT SELECT ON erased_people TO mythos_gate_compliance;
"""


def upgrade() -> None:
    _check("people", "status", f"status IN ({STATUSES}, 'erased')")
    _check("proposals", "action", f"action IN ({ACTIONS}, 'erase')")
    op.create_table(
        "legal_holds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("person_id", sa.Text(), nullable=True),
        sa.Column("matter", sa.Text(), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("scope IN ('organization', 'person')", name=op.f("ck_legal_holds_scope")),
        sa.CheckConstraint(
            "num_nonnulls(organization_id, person_id) = 1 AND (scope = 'person') = (person_id IS NOT NULL)",
            name=op.f("ck_legal_holds_target"),
        ),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_legal_holds_organization_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_legal_holds_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_holds")),
    )
    op.create_index(op.f("ix_legal_holds_organization_id"), "legal_holds", ["organization_id"])
    op.create_index(op.f("ix_legal_holds_person_id"), "legal_holds", ["person_id"])
    op.create_index(
        "uq_legal_holds_standing",
        "legal_holds",
        ["scope", "organization_id", "person_id", "matter"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.create_table(
        "erased_people",
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("octet_length(salt) = 16", name=op.f("ck_erased_people_salt")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_erased_people_organization_id")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_erased_people_person_id")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_erased_people")),
    )
    op.create_index(op.f("ix_erased_people_organization_id"), "erased_people", ["organization_id"])
    # Past SQLAlchemy, which would take percent signs and colons for parameters.
    op.get_bind().connection.cursor().execute(FUNCTIONS)


def _check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def downgrade() -> None:
    op.execute(
        "DROP FUNCTION erase_person, erase_own, erase_alias, last_decision, last_change; DROP TRIGGER erased ON people"
    )
    op.drop_table("erased_people")
    op.drop_table("legal_holds")
    _check("proposals", "action", f"action IN ({ACTIONS})")
    _check("people", "status", f"status IN ({STATUSES})")
