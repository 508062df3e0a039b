"""What caches of the PDP need: a key for a grant that fills up, and an end to the list of touched keys."""

from alembic import op

revision = "0004"
down_revision = "0003"

FUNCTIONS = """
-- Whether a grant is full is on record with its organization; how many seats are taken is nobody's key. Whoever
-- claims or releases holds the count's lock; the cap is locked here, so that it does not change meanwhile.
CREATE FUNCTION touch_full() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  organization text;
  cap integer;
BEGIN
  SELECT organization_id, seat_cap INTO organization, cap FROM grants WHERE id = NEW.grant_id FOR SHARE;
  IF (OLD.used >= cap) IS DISTINCT FROM (NEW.used >= cap) THEN
    PERFORM touch_keys(ARRAY['organization:' || organization]);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER touch_full AFTER UPDATE ON seat_counts FOR EACH ROW EXECUTE FUNCTION touch_full();
ALTER TABLE seat_counts ENABLE ALWAYS TRIGGER touch_full;

-- A process that is more than 5,000 changes behind asks for no list of keys: it forgets all that it knows.
CREATE FUNCTION prune_touched() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
  WITH pruned AS (DELETE FROM touched WHERE n < (SELECT r.n FROM revision r) - 100000 RETURNING 1)
  SELECT count(*) FROM pruned
$$;
REVOKE ALL ON FUNCTION touch_full, prune_touched FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_touched TO mythos_gate_compliance;
"""


def upgrade() -> None:
    op.execute(FUNCTIONS)


def downgrade() -> None:
    op.execute("DROP TRIGGER touch_full ON seat_counts; DROP FUNCTION touch_full, prune_touched")
