"""Proposals become change requests: permanent records of what would change, named by a hash, which expire."""

from alembic import op

revision = "0011"
down_revision = "0010"

UP = """
ALTER TABLE proposals RENAME TO change_requests;
ALTER TABLE change_requests RENAME COLUMN proposed_by TO requested_by;
ALTER TABLE change_requests RENAME CONSTRAINT pk_proposals TO pk_change_requests;
ALTER TABLE change_requests RENAME CONSTRAINT fk_proposals_proposed_by TO fk_change_requests_requested_by;
ALTER TABLE change_requests RENAME CONSTRAINT fk_proposals_decided_by TO fk_change_requests_decided_by;
ALTER TABLE change_requests RENAME CONSTRAINT fk_proposals_authority_id TO fk_change_requests_authority_id;
ALTER TABLE change_requests
  DROP CONSTRAINT ck_proposals_action, DROP CONSTRAINT ck_proposals_state, DROP CONSTRAINT ck_proposals_decided_by,
  DROP CONSTRAINT ck_proposals_two_people,
  ADD before jsonb NOT NULL DEFAULT '{{}}', ADD after jsonb NOT NULL DEFAULT '{{}}', ADD salt text, ADD sha256 text,
  ADD reason text, ADD expires_at timestamptz, ALTER state DROP DEFAULT;
UPDATE change_requests SET expires_at = created_at + interval '7 days',
  state = CASE state WHEN 'proposed' THEN 'requested' WHEN 'confirmed' THEN 'approved' ELSE state END;
ALTER TABLE change_requests
  ALTER before DROP DEFAULT, ALTER after DROP DEFAULT, ALTER expires_at SET NOT NULL, ALTER state SET DEFAULT 'requested',
  ADD CONSTRAINT ck_change_requests_action CHECK (action IN ({actions}, 'import')),
  ADD CONSTRAINT ck_change_requests_state CHECK (state IN ('requested', 'approved', 'rejected', 'withdrawn')),
  ADD CONSTRAINT ck_change_requests_decided_by CHECK ((state = 'requested') = (decided_by IS NULL)),
  ADD CONSTRAINT ck_change_requests_two_people
    CHECK (state NOT IN ('approved', 'rejected') OR decided_by <> requested_by),
  ADD CONSTRAINT ck_change_requests_reason CHECK (state <> 'rejected' OR reason IS NOT NULL);

ALTER TABLE assessment_proposals RENAME TO change_request_contents;
ALTER TABLE change_request_contents RENAME COLUMN proposal_id TO change_request_id;
ALTER TABLE change_request_contents RENAME CONSTRAINT pk_assessment_proposals TO pk_change_request_contents;
ALTER TABLE change_request_contents
  RENAME CONSTRAINT fk_assessment_proposals_proposal_id TO fk_change_request_contents_change_request_id;

-- Permanent: what is asked for never changes, but that an erasure takes a name out; it is decided once, for good.
REVOKE UPDATE, DELETE ON change_requests FROM mythos_gate_compliance;
GRANT UPDATE (state, decided_by, decided_at, reason) ON change_requests TO mythos_gate_compliance;
CREATE TRIGGER decided_once BEFORE UPDATE ON change_requests FOR EACH ROW
  WHEN (OLD.state <> 'requested' AND (OLD.state, OLD.decided_by, OLD.decided_at, OLD.reason)
    IS DISTINCT FROM (NEW.state, NEW.decided_by, NEW.decided_at, NEW.reason))
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER permanent BEFORE DELETE ON change_requests FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON change_requests FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE change_requests ENABLE ALWAYS TRIGGER decided_once;
ALTER TABLE change_requests ENABLE ALWAYS TRIGGER permanent;
ALTER TABLE change_requests ENABLE ALWAYS TRIGGER no_truncate;
"""
DOWN = """
DROP TRIGGER decided_once ON change_requests;
DROP TRIGGER permanent ON change_requests;
DROP TRIGGER no_truncate ON change_requests;
ALTER TABLE change_request_contents RENAME TO assessment_proposals;
ALTER TABLE assessment_proposals RENAME COLUMN change_request_id TO proposal_id;
ALTER TABLE assessment_proposals RENAME CONSTRAINT pk_change_request_contents TO pk_assessment_proposals;
ALTER TABLE assessment_proposals
  RENAME CONSTRAINT fk_change_request_contents_change_request_id TO fk_assessment_proposals_proposal_id;
ALTER TABLE change_requests
  DROP CONSTRAINT ck_change_requests_action, DROP CONSTRAINT ck_change_requests_state,
  DROP CONSTRAINT ck_change_requests_decided_by, DROP CONSTRAINT ck_change_requests_two_people,
  DROP CONSTRAINT ck_change_requests_reason;
-- What the release before knows nothing of.
DELETE FROM assessment_proposals USING change_requests
  WHERE id = proposal_id AND (action = 'import' OR resource <> 'assessments' OR state <> 'requested');
DELETE FROM change_requests WHERE action = 'import' OR resource IN ('keys', 'policies');
UPDATE assessment_proposals SET members = coalesce(members->'members', members);
UPDATE change_requests SET
  state = CASE state WHEN 'requested' THEN 'proposed' WHEN 'approved' THEN 'confirmed' ELSE 'withdrawn' END;
ALTER TABLE change_requests
  DROP before, DROP after, DROP salt, DROP sha256, DROP reason, DROP expires_at, ALTER state SET DEFAULT 'proposed';
ALTER TABLE change_requests RENAME COLUMN requested_by TO proposed_by;
ALTER TABLE change_requests RENAME CONSTRAINT pk_change_requests TO pk_proposals;
ALTER TABLE change_requests RENAME CONSTRAINT fk_change_requests_requested_by TO fk_proposals_proposed_by;
ALTER TABLE change_requests RENAME CONSTRAINT fk_change_requests_decided_by TO fk_proposals_decided_by;
ALTER TABLE change_requests RENAME CONSTRAINT fk_change_requests_authority_id TO fk_proposals_authority_id;
ALTER TABLE change_requests
  ADD CONSTRAINT ck_proposals_action CHECK (action IN ({actions})),
  ADD CONSTRAINT ck_proposals_state CHECK (state IN ('proposed', 'confirmed', 'withdrawn')),
  ADD CONSTRAINT ck_proposals_decided_by CHECK ((state = 'proposed') = (decided_by IS NULL)),
  ADD CONSTRAINT ck_proposals_two_people CHECK (state <> 'confirmed' OR decided_by <> proposed_by);
ALTER TABLE change_requests RENAME TO proposals;
REVOKE ALL ON proposals FROM mythos_gate_compliance;
GRANT SELECT, INSERT, UPDATE ON proposals TO mythos_gate_compliance;
"""
ACTIONS = "'create', 'change', 'activate', 'lift', 'replace', 'adjudicate', 'erase', 'prune'"

# What waits for a second officer, and what was decided. A tag is a hash of a record with its names; that of a request
# is salted, and tells nothing once the salt is gone.
ERASING = """
  DELETE FROM change_request_contents WHERE change_request_id IN (
    SELECT id FROM change_requests WHERE reference = gone OR resource = 'keys' AND members->>'person' = alias
    OR action = 'import');  -- Files may name anybody, in any way.
  UPDATE change_requests SET members = members || jsonb_build_object('person', gone, 'name', gone),
    after = after || jsonb_build_object('person', gone, 'name', gone)
  WHERE resource = 'keys' AND members->>'person' = alias;
  UPDATE change_requests SET etag = NULL, salt = NULL WHERE reference = gone;
  UPDATE change_requests SET members = members || jsonb_build_object('person', gone), etag = NULL, salt = NULL
  WHERE resource = 'screenings' AND members->>'organization' = place AND members->>'person' = was;
  UPDATE change_requests SET members = unlisted(members, was, gone), before = unlisted(before, was, gone),
    after = unlisted(after, was, gone), salt = NULL
  WHERE resource = 'grants' AND (members->'listed_people' ? was OR before->'listed_people' ? was OR after->'listed_people' ? was)
    AND (members->>'organization' = place OR reference IN (SELECT id FROM grants WHERE organization_id = home));
"""
BEFORE_THAT = """
  DELETE FROM assessment_proposals WHERE proposal_id IN (SELECT id FROM proposals WHERE reference = gone);
  UPDATE proposals SET etag = NULL WHERE reference = gone;
  UPDATE proposals SET members = members || jsonb_build_object('person', gone), etag = NULL
  WHERE resource = 'screenings' AND members->>'organization' = place AND members->>'person' = was;
  UPDATE proposals SET members = members || jsonb_build_object('listed_people',
    to_jsonb(array_replace(ARRAY(SELECT jsonb_array_elements_text(members->'listed_people')), was, gone)))
  WHERE resource = 'grants' AND members->'listed_people' ? was AND (members->>'organization' = place
    OR reference IN (SELECT id FROM grants WHERE organization_id = home));
"""
UNLISTED = """
CREATE FUNCTION unlisted(members jsonb, was text, gone text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
  SELECT CASE WHEN members->'listed_people' ? was THEN members || jsonb_build_object('listed_people',
    to_jsonb(array_replace(ARRAY(SELECT jsonb_array_elements_text(members->'listed_people')), was, gone)))
  ELSE members END
$$;
REVOKE ALL ON FUNCTION unlisted FROM PUBLIC;
"""
ERASE_PERSON = """
CREATE OR REPLACE FUNCTION erase_person(gone text) RETURNS void
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
%s  -- The list of touched keys holds names: every process is told to forget everything instead.
  DELETE FROM touched WHERE key = ANY (keys) OR xid = pg_current_xact_id()::text AND n IS NULL;
  PERFORM touch_keys(ARRAY['*']);
END $$;
"""
# As in 0009: a table of pg_temp is found last.
PATH = """
DO $$ BEGIN
  EXECUTE format('ALTER FUNCTION erase_person SET search_path = %I, pg_temp', current_schema());
  EXECUTE format('ALTER FUNCTION unlisted SET search_path = %I, pg_temp', current_schema());
END $$;
"""


def _run(sql: str) -> None:
    # Past SQLAlchemy, which would take percent signs and colons for parameters.
    op.get_bind().connection.cursor().execute(sql)


def upgrade() -> None:
    _run(UP.format(actions=ACTIONS))
    _run(UNLISTED + ERASE_PERSON.replace("%s", ERASING) + PATH)


def downgrade() -> None:
    _run(DOWN.format(actions=ACTIONS))
    _run(ERASE_PERSON.replace("%s", BEFORE_THAT) + PATH + "DROP FUNCTION unlisted")
