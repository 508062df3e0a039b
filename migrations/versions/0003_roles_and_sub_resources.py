"""Officers of one authority, operators, assessments that wait for a second officer, ids of switches."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

ROLES = "'gateway', 'org_admin', 'compliance', 'auditor'"
ACTIONS = "'create', 'change', 'activate', 'lift'"
# Each new column of a kept table stands in its history as well.
COLUMNS = (("callers", "authority_id"), ("callers", "person_id"), ("people", "obligations_evidence"))


def upgrade() -> None:
    for table, column in COLUMNS:
        for each in (table, f"{table}_history"):
            op.add_column(each, sa.Column(column, sa.Text(), nullable=True))
    op.create_foreign_key(op.f("fk_callers_authority_id"), "callers", "authorities", ["authority_id"], ["id"])
    op.create_foreign_key(op.f("fk_callers_person_id"), "callers", "people", ["person_id"], ["id"])
    _check("callers", "roles", f"roles <@ ARRAY[{ROLES}, 'officer', 'operator']::text[]")
    op.create_check_constraint(
        op.f("ck_callers_authority_id"), "callers", "('officer' = ANY (roles)) = (authority_id IS NOT NULL)"
    )
    # A default that is computed for each row fills what is there without firing triggers.
    op.execute(
        "ALTER TABLE switches ADD COLUMN id text NOT NULL DEFAULT 'swi_' || replace(gen_random_uuid()::text, '-', '');"
        "ALTER TABLE switches ALTER COLUMN id DROP DEFAULT;"
        "ALTER TABLE switches_history ADD COLUMN id text;"
        "UPDATE switches_history h SET id = s.id FROM switches s WHERE (s.name, s.starts_at) = (h.name, h.starts_at)"
    )
    op.create_unique_constraint(op.f("uq_switches_id"), "switches", ["id"])
    op.add_column("proposals", sa.Column("authority_id", sa.Text(), nullable=True))
    op.create_foreign_key(op.f("fk_proposals_authority_id"), "proposals", "authorities", ["authority_id"], ["id"])
    _check("proposals", "action", f"action IN ({ACTIONS}, 'replace', 'adjudicate')")
    op.create_table(
        "assessment_proposals",
        sa.Column("proposal_id", sa.Text(), nullable=False),
        sa.Column("members", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposals.id"], name=op.f("fk_assessment_proposals_proposal_id")),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_assessment_proposals")),
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON assessment_proposals TO mythos_gate_compliance")
    # Whether somebody is eligible is asked from where they work.
    op.execute("GRANT SELECT (work_country) ON people TO mythos_gate_service")


def _check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def downgrade() -> None:
    op.execute("REVOKE SELECT (work_country) ON people FROM mythos_gate_service")
    op.drop_table("assessment_proposals")
    _check("proposals", "action", f"action IN ({ACTIONS})")
    op.drop_column("proposals", "authority_id")
    op.drop_constraint(op.f("uq_switches_id"), "switches", type_="unique")
    for table in ("switches", "switches_history"):
        op.drop_column(table, "id")
    op.drop_constraint(op.f("ck_callers_authority_id"), "callers", type_="check")
    _check("callers", "roles", f"roles <@ ARRAY[{ROLES}]::text[]")
    for table, column in COLUMNS:
        for each in (table, f"{table}_history"):
            op.drop_column(each, column)
