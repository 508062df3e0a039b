"""Functions look for a table in temporary schemas last.

Unless it is named, pg_temp is searched before all else: a login that may make a temporary `log_queue` could have its
entries queued there, by a function that runs with its owner's rights (PostgreSQL, CREATE FUNCTION, "Writing SECURITY
DEFINER Functions Safely").
"""

from alembic import op

revision = "0009"
down_revision = "0008"

SEARCHING = """
DO $$
DECLARE each regprocedure;
BEGIN
  FOR each IN
    SELECT oid FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = {path}', each, current_schema());
  END LOOP;
END $$;
"""


def _search(path: str) -> None:
    # Past SQLAlchemy, which would take percent signs and colons for parameters.
    op.get_bind().connection.cursor().execute(SEARCHING.format(path=path))


def upgrade() -> None:
    _search("%I, pg_temp")


def downgrade() -> None:
    _search("%I")
