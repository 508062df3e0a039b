"""Tables: authorities, organizations, grants, people, agents, endpoints, switches, policy, callers, log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "authorities",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("organization_cap", sa.Integer(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('vendor', 'government')", name=op.f("ck_authorities_kind")),
        sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9._-]{0,62}$'", name=op.f("ck_authorities_slug")),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_authorities_created_at_finite")),
        sa.CheckConstraint("organization_cap >= 0", name=op.f("ck_authorities_organization_cap")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorities")),
        sa.UniqueConstraint("slug", name=op.f("uq_authorities_slug")),
    )
    op.create_table(
        "data_sets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_data_sets_created_at_finite")),
        sa.CheckConstraint("isfinite(reviewed_at)", name=op.f("ck_data_sets_reviewed_at_finite")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_sets")),
    )
    op.create_table(
        "log_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("leaf = sha256('\\x00'::bytea || body)", name=op.f("ck_log_entries_leaf")),
        sa.CheckConstraint("octet_length(body) BETWEEN 2 AND 65535", name=op.f("ck_log_entries_body")),
        sa.PrimaryKeyConstraint("id", "at", name=op.f("pk_log_entries")),
        sa.UniqueConstraint("writer", "n", "at", name=op.f("uq_log_entries_writer_n_at")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=True),
        sa.Column("incorporated_in", sa.Text(), nullable=True),
        sa.Column("parent_name", sa.Text(), nullable=True),
        sa.Column("parent_country", sa.Text(), nullable=True),
        sa.Column("parent_country_text", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("ownership_change_pending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9._-]{0,62}$'", name=op.f("ck_organizations_slug")),
        sa.CheckConstraint(
            "status IN ('prospect', 'active', 'suspended', 'terminated')", name=op.f("ck_organizations_status")
        ),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_organizations_created_at_finite")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("slug", name=op.f("uq_organizations_slug")),
    )
    op.create_table(
        "policy_revisions",
        sa.Column("number", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("files", postgresql.JSONB(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_policy_revisions_sha256")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_policy_revisions")),
        sa.UniqueConstraint("sha256", name=op.f("uq_policy_revisions_sha256")),
    )
    op.create_table(
        "revision",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("one", name=op.f("ck_revision_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_revision")),
    )
    op.create_table(
        "revision_stamps",
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("stamp", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_revision_stamps")),
    )
    op.create_table(
        "switches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("name IN ('affiliates_rule')", name=op.f("ck_switches_name")),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_switches_window")),
        sa.CheckConstraint("isfinite(ends_at)", name=op.f("ck_switches_ends_at_finite")),
        sa.CheckConstraint("isfinite(starts_at)", name=op.f("ck_switches_starts_at_finite")),
        sa.PrimaryKeyConstraint("name", "starts_at", name=op.f("pk_switches")),
    )
    op.create_table(
        "touched",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("xid", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_touched")),
    )
    op.create_index("ix_touched_n", "touched", ["n"], unique=False)
    op.create_index("uq_touched_open", "touched", ["xid", "key"], unique=True, postgresql_where=sa.text("n IS NULL"))
    op.create_table(
        "callers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("roles", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("models", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("organizations", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "('org_admin' = ANY (roles)) = (organization_id IS NOT NULL)", name=op.f("ck_callers_organization_id")
        ),
        sa.CheckConstraint("kind IN ('person', 'service')", name=op.f("ck_callers_kind")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_callers_name")),
        sa.CheckConstraint(
            "roles <@ ARRAY['gateway', 'org_admin', 'compliance', 'auditor']::text[]", name=op.f("ck_callers_roles")
        ),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_callers_created_at_finite")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_callers_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_callers")),
        sa.UniqueConstraint("name", name=op.f("uq_callers_name")),
    )
    op.create_table(
        "endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("attested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("external_id ~ '^[A-Za-z0-9._@+-]{1,128}$'", name=op.f("ck_endpoints_external_id")),
        sa.CheckConstraint("status IN ('active', 'retired')", name=op.f("ck_endpoints_status")),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_endpoints_created_at_finite")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_endpoints_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoints")),
        sa.UniqueConstraint("organization_id", "external_id", name=op.f("uq_endpoints_organization_id_external_id")),
    )
    op.create_table(
        "jurisdictions",
        sa.Column("data_set_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("alpha3", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("treatment", sa.Text(), nullable=False),
        sa.Column("inherits", sa.Text(), nullable=True),
        sa.Column("groups", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("(treatment = 'inherits') = (inherits IS NOT NULL)", name=op.f("ck_jurisdictions_inherits")),
        sa.CheckConstraint(
            "treatment IN ('listed', 'inherits', 'indeterminate', 'stateless', 'withdrawn', 'embargoed')",
            name=op.f("ck_jurisdictions_treatment"),
        ),
        sa.ForeignKeyConstraint(["data_set_id"], ["data_sets.id"], name=op.f("fk_jurisdictions_data_set_id")),
        sa.PrimaryKeyConstraint("data_set_id", "code", name=op.f("pk_jurisdictions")),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("authority_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("versions", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("capabilities", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "cardinality(versions) = 0 OR array_to_string(versions, '|', '') ~ '^(0|[1-9][0-9]{0,5})[.](0|[1-9][0-9]{0,5})([|](0|[1-9][0-9]{0,5})[.](0|[1-9][0-9]{0,5}))*$'",
            name=op.f("ck_models_versions"),
        ),
        sa.CheckConstraint("id ~ '^[a-z0-9][a-z0-9._-]{0,62}$'", name=op.f("ck_models_id")),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_models_created_at_finite")),
        sa.ForeignKeyConstraint(["authority_id"], ["authorities.id"], name=op.f("fk_models_authority_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
    )
    op.create_table(
        "organization_screenings",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("screened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("list_version", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('clear', 'false_positive', 'pending', 'true_match', 'incomplete')",
            name=op.f("ck_organization_screenings_status"),
        ),
        sa.CheckConstraint("isfinite(screened_at)", name=op.f("ck_organization_screenings_screened_at_finite")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_organization_screenings_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_organization_screenings")),
    )
    op.create_table(
        "ownerships",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("percent", sa.Numeric(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.CheckConstraint("percent > 0 AND percent <= 100", name=op.f("ck_ownerships_percent")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_ownerships_organization_id")),
        sa.PrimaryKeyConstraint("organization_id", "owner", name=op.f("pk_ownerships")),
    )
    op.create_table(
        "people",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("work_country", sa.Text(), nullable=True),
        sa.Column("work_country_text", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("employment", sa.Text(), nullable=False),
        sa.Column("training_expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acceptable_use", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("technology_control_plan", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column("review_due", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("employment IN ('employee', 'contractor', 'ended')", name=op.f("ck_people_employment")),
        sa.CheckConstraint("external_id ~ '^[A-Za-z0-9._@+-]{1,128}$'", name=op.f("ck_people_external_id")),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("ck_people_status")),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_people_created_at_finite")),
        sa.CheckConstraint("isfinite(review_due)", name=op.f("ck_people_review_due_finite")),
        sa.CheckConstraint("isfinite(training_expires)", name=op.f("ck_people_training_expires_finite")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_people_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("organization_id", "external_id", name=op.f("uq_people_organization_id_external_id")),
        sa.UniqueConstraint("organization_id", "id", name=op.f("uq_people_organization_id_id")),
    )
    op.create_table(
        "programme",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("policy_revision", sa.Integer(), nullable=True),
        sa.Column("data_set_id", sa.Text(), nullable=True),
        sa.Column("demo", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("one", name=op.f("ck_programme_one")),
        sa.ForeignKeyConstraint(["data_set_id"], ["data_sets.id"], name=op.f("fk_programme_data_set_id")),
        sa.ForeignKeyConstraint(
            ["policy_revision"], ["policy_revisions.number"], name=op.f("fk_programme_policy_revision")
        ),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_programme")),
    )
    op.create_table(
        "agents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("sponsor_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("runtime_country", sa.Text(), nullable=True),
        sa.Column("runtime_country_text", sa.Text(), nullable=True),
        sa.Column("depth", sa.Integer(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("external_id ~ '^[A-Za-z0-9._@+-]{1,128}$'", name=op.f("ck_agents_external_id")),
        sa.CheckConstraint("status IN ('active', 'suspended', 'revoked')", name=op.f("ck_agents_status")),
        sa.CheckConstraint("depth >= 0", name=op.f("ck_agents_depth")),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_agents_created_at_finite")),
        sa.CheckConstraint("isfinite(expires_at)", name=op.f("ck_agents_expires_at_finite")),
        sa.ForeignKeyConstraint(
            ["organization_id", "sponsor_id"],
            ["people.organization_id", "people.id"],
            name=op.f("fk_agents_organization_id_sponsor_id"),
        ),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_agents_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("organization_id", "external_id", name=op.f("uq_agents_organization_id_external_id")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("caller_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_api_keys_created_at_finite")),
        sa.CheckConstraint("isfinite(expires_at)", name=op.f("ck_api_keys_expires_at_finite")),
        sa.CheckConstraint("isfinite(revoked_at)", name=op.f("ck_api_keys_revoked_at_finite")),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_api_keys_hash")),
        sa.ForeignKeyConstraint(["caller_id"], ["callers.id"], name=op.f("fk_api_keys_caller_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_caller_id"), "api_keys", ["caller_id"], unique=False)
    op.create_table(
        "approvals",
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_approvals_person_id")),
        sa.PrimaryKeyConstraint("person_id", "approver", name=op.f("pk_approvals")),
    )
    op.create_table(
        "break_glasses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("people", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("approvers", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reviewed_by", sa.Text(), nullable=True),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("review", sa.Text(), nullable=True),
        sa.CheckConstraint("incident <> ''", name=op.f("ck_break_glasses_incident")),
        sa.CheckConstraint("(reviewed_by IS NULL) = (reviewed_at IS NULL)", name=op.f("ck_break_glasses_reviewed_by")),
        sa.CheckConstraint("expires_at > opened_at", name=op.f("ck_break_glasses_window")),
        sa.CheckConstraint("isfinite(expires_at)", name=op.f("ck_break_glasses_expires_at_finite")),
        sa.CheckConstraint("isfinite(opened_at)", name=op.f("ck_break_glasses_opened_at_finite")),
        sa.CheckConstraint("isfinite(reviewed_at)", name=op.f("ck_break_glasses_reviewed_at_finite")),
        sa.CheckConstraint("reviewed_by <> opened_by", name=op.f("ck_break_glasses_reviewed_by_another")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_break_glasses_model_id")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_break_glasses_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_break_glasses")),
        sa.UniqueConstraint("organization_id", "incident", name=op.f("uq_break_glasses_organization_id_incident")),
    )
    op.create_index(op.f("ix_break_glasses_organization_id"), "break_glasses", ["organization_id"], unique=False)
    op.create_table(
        "directives",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("authority_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("versions", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("applies_to", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("applies_to IN ('all', 'foreign_persons_or_abroad')", name=op.f("ck_directives_applies_to")),
        sa.CheckConstraint(
            "cardinality(versions) = 0 OR array_to_string(versions, '|', '') ~ '^(0|[1-9][0-9]{0,5})[.](0|[1-9][0-9]{0,5})([|](0|[1-9][0-9]{0,5})[.](0|[1-9][0-9]{0,5}))*$'",
            name=op.f("ck_directives_versions"),
        ),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_directives_window")),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_directives_created_at_finite")),
        sa.CheckConstraint("isfinite(ends_at)", name=op.f("ck_directives_ends_at_finite")),
        sa.CheckConstraint("isfinite(starts_at)", name=op.f("ck_directives_starts_at_finite")),
        sa.ForeignKeyConstraint(["authority_id"], ["authorities.id"], name=op.f("fk_directives_authority_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_directives_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directives")),
        sa.UniqueConstraint("authority_id", "reference", name=op.f("uq_directives_authority_id_reference")),
    )
    op.create_table(
        "export_assessments",
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("us_person", sa.Text(), nullable=False),
        sa.Column("us_basis", sa.Text(), nullable=True),
        sa.Column("evidence_expires", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "us_basis IN ('citizen', 'national', 'lpr', 'protected_individual')",
            name=op.f("ck_export_assessments_us_basis"),
        ),
        sa.CheckConstraint("us_person IN ('yes', 'no', 'unknown')", name=op.f("ck_export_assessments_us_person")),
        sa.CheckConstraint("isfinite(evidence_expires)", name=op.f("ck_export_assessments_evidence_expires_finite")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_export_assessments_person_id")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_export_assessments")),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("authority_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("document_sha256", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("versions", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("capabilities", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("purposes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("foreign_nationals", sa.Text(), nullable=False),
        sa.Column("excluded_groups", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("nationality_basis", sa.Text(), nullable=False),
        sa.Column("allowed_countries", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("contractors", sa.Boolean(), nullable=False),
        sa.Column("agents", sa.Boolean(), nullable=False),
        sa.Column("seat_cap", sa.Integer(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "cardinality(allowed_countries) = 0 OR array_to_string(allowed_countries, '|', '') ~ '^([A-Z]{2}|[*])([|]([A-Z]{2}|[*]))*$'",
            name=op.f("ck_grants_allowed_countries"),
        ),
        sa.CheckConstraint(
            "cardinality(excluded_groups) = 0 OR array_to_string(excluded_groups, '|', '') ~ '^([A-E](:[1-9])?|MO)([|]([A-E](:[1-9])?|MO))*$'",
            name=op.f("ck_grants_excluded_groups"),
        ),
        sa.CheckConstraint(
            "cardinality(versions) = 0 OR array_to_string(versions, '|', '') ~ '^(0|[1-9][0-9]{0,5})[.](0|[1-9][0-9]{0,5})([|](0|[1-9][0-9]{0,5})[.](0|[1-9][0-9]{0,5}))*$'",
            name=op.f("ck_grants_versions"),
        ),
        sa.CheckConstraint("document_sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_grants_document_sha256")),
        sa.CheckConstraint(
            "foreign_nationals IN ('none', 'listed', 'all_except')", name=op.f("ck_grants_foreign_nationals")
        ),
        sa.CheckConstraint(
            "nationality_basis IN ('ear_most_recent', 'itar_all_ever', 'strict_any_current')",
            name=op.f("ck_grants_nationality_basis"),
        ),
        sa.CheckConstraint("status IN ('draft', 'active', 'suspended', 'revoked')", name=op.f("ck_grants_status")),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_grants_created_at_finite")),
        sa.CheckConstraint("isfinite(not_after)", name=op.f("ck_grants_not_after_finite")),
        sa.CheckConstraint("isfinite(not_before)", name=op.f("ck_grants_not_before_finite")),
        sa.CheckConstraint("not_after > not_before", name=op.f("ck_grants_window")),
        sa.CheckConstraint("seat_cap >= 0", name=op.f("ck_grants_seat_cap")),
        sa.ForeignKeyConstraint(["authority_id"], ["authorities.id"], name=op.f("fk_grants_authority_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_grants_model_id")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_grants_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
        sa.UniqueConstraint("authority_id", "reference", name=op.f("uq_grants_authority_id_reference")),
        sa.UniqueConstraint("organization_id", "id", name=op.f("uq_grants_organization_id_id")),
    )
    op.create_index(op.f("ix_grants_organization_id"), "grants", ["organization_id"], unique=False)
    op.create_table(
        "nationality_commitments",
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(salt) = 16", name=op.f("ck_nationality_commitments_salt")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_nationality_commitments_person_id")),
        sa.PrimaryKeyConstraint("person_id", "commitment", name=op.f("pk_nationality_commitments")),
    )
    op.create_table(
        "nationality_records",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("country_text", sa.Text(), nullable=False),
        sa.Column("acquired", sa.Date(), nullable=True),
        sa.Column("ended", sa.Date(), nullable=True),
        sa.CheckConstraint("kind IN ('citizenship', 'permanent_residency')", name=op.f("ck_nationality_records_kind")),
        sa.CheckConstraint("ended >= acquired", name=op.f("ck_nationality_records_window")),
        sa.CheckConstraint("isfinite(acquired)", name=op.f("ck_nationality_records_acquired_finite")),
        sa.CheckConstraint("isfinite(ended)", name=op.f("ck_nationality_records_ended_finite")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_nationality_records_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nationality_records")),
        sa.UniqueConstraint(
            "person_id",
            "kind",
            "country",
            "country_text",
            "acquired",
            "ended",
            name=op.f("uq_nationality_records_person_id_kind_country_country_text_acquired_ended"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(op.f("ix_nationality_records_person_id"), "nationality_records", ["person_id"], unique=False)
    op.create_table(
        "person_screenings",
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("screened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("list_version", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('clear', 'false_positive', 'pending', 'true_match', 'incomplete')",
            name=op.f("ck_person_screenings_status"),
        ),
        sa.CheckConstraint("isfinite(screened_at)", name=op.f("ck_person_screenings_screened_at_finite")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_person_screenings_person_id")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person_screenings")),
    )
    op.create_table(
        "proposals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("members", postgresql.JSONB(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'proposed'"), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("(state = 'proposed') = (decided_by IS NULL)", name=op.f("ck_proposals_decided_by")),
        sa.CheckConstraint("action IN ('create', 'change', 'activate', 'lift')", name=op.f("ck_proposals_action")),
        sa.CheckConstraint("state <> 'confirmed' OR decided_by <> proposed_by", name=op.f("ck_proposals_two_people")),
        sa.CheckConstraint("state IN ('proposed', 'confirmed', 'withdrawn')", name=op.f("ck_proposals_state")),
        sa.ForeignKeyConstraint(["decided_by"], ["callers.id"], name=op.f("fk_proposals_decided_by")),
        sa.ForeignKeyConstraint(["proposed_by"], ["callers.id"], name=op.f("fk_proposals_proposed_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
    )
    op.create_table(
        "stops",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("authority_id", sa.Text(), nullable=True),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("person_id", sa.Text(), nullable=True),
        sa.Column("endpoint_id", sa.Text(), nullable=True),
        sa.Column("incident", sa.Text(), nullable=True),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "incident IS NOT NULL OR scope IN ('everything', 'authority', 'model')", name=op.f("ck_stops_incident")
        ),
        sa.CheckConstraint(
            "num_nonnulls(authority_id, model_id, organization_id, person_id, endpoint_id) = CASE scope WHEN 'everything' THEN 0 ELSE 1 END AND CASE scope WHEN 'everything' THEN true WHEN 'authority' THEN authority_id IS NOT NULL WHEN 'model' THEN model_id IS NOT NULL WHEN 'organization' THEN organization_id IS NOT NULL WHEN 'person' THEN person_id IS NOT NULL WHEN 'endpoint' THEN endpoint_id IS NOT NULL END",
            name=op.f("ck_stops_target"),
        ),
        sa.CheckConstraint(
            "scope IN ('everything', 'authority', 'model', 'organization', 'person', 'endpoint')",
            name=op.f("ck_stops_scope"),
        ),
        sa.CheckConstraint("isfinite(created_at)", name=op.f("ck_stops_created_at_finite")),
        sa.CheckConstraint("isfinite(lifted_at)", name=op.f("ck_stops_lifted_at_finite")),
        sa.ForeignKeyConstraint(["authority_id"], ["authorities.id"], name=op.f("fk_stops_authority_id")),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoints.id"], name=op.f("fk_stops_endpoint_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_stops_model_id")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_stops_organization_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_stops_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stops")),
    )
    op.create_index(op.f("ix_stops_endpoint_id"), "stops", ["endpoint_id"], unique=False)
    op.create_index(op.f("ix_stops_organization_id"), "stops", ["organization_id"], unique=False)
    op.create_index(op.f("ix_stops_person_id"), "stops", ["person_id"], unique=False)
    op.create_index(
        "uq_stops_standing",
        "stops",
        ["scope", "authority_id", "model_id", "organization_id", "person_id", "endpoint_id", "incident"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.create_table(
        "directive_exemptions",
        sa.Column("directive_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["directive_id"], ["directives.id"], name=op.f("fk_directive_exemptions_directive_id")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_directive_exemptions_organization_id")
        ),
        sa.PrimaryKeyConstraint("directive_id", "organization_id", name=op.f("pk_directive_exemptions")),
    )
    op.create_table(
        "grant_listed_people",
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "grant_id"],
            ["grants.organization_id", "grants.id"],
            name=op.f("fk_grant_listed_people_organization_id_grant_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "person_id"],
            ["people.organization_id", "people.id"],
            name=op.f("fk_grant_listed_people_organization_id_person_id"),
        ),
        sa.PrimaryKeyConstraint("grant_id", "person_id", name=op.f("pk_grant_listed_people")),
    )
    op.create_index(op.f("ix_grant_listed_people_person_id"), "grant_listed_people", ["person_id"], unique=False)
    op.create_table(
        "seat_counts",
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.CheckConstraint("used >= 0", name=op.f("ck_seat_counts_used")),
        sa.ForeignKeyConstraint(["grant_id"], ["grants.id"], name=op.f("fk_seat_counts_grant_id")),
        sa.PrimaryKeyConstraint("grant_id", name=op.f("pk_seat_counts")),
    )
    op.create_table(
        "seats",
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column(
            "claimed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("isfinite(claimed_at)", name=op.f("ck_seats_claimed_at_finite")),
        sa.ForeignKeyConstraint(
            ["organization_id", "grant_id"],
            ["grants.organization_id", "grants.id"],
            name=op.f("fk_seats_organization_id_grant_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "person_id"],
            ["people.organization_id", "people.id"],
            name=op.f("fk_seats_organization_id_person_id"),
        ),
        sa.PrimaryKeyConstraint("grant_id", "person_id", name=op.f("pk_seats")),
    )
    op.create_index(op.f("ix_seats_person_id"), "seats", ["person_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_seats_person_id"), table_name="seats")
    op.drop_table("seats")
    op.drop_table("seat_counts")
    op.drop_index(op.f("ix_grant_listed_people_person_id"), table_name="grant_listed_people")
    op.drop_table("grant_listed_people")
    op.drop_table("directive_exemptions")
    op.drop_index(
        "uq_stops_standing",
        table_name="stops",
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.drop_index(op.f("ix_stops_person_id"), table_name="stops")
    op.drop_index(op.f("ix_stops_organization_id"), table_name="stops")
    op.drop_index(op.f("ix_stops_endpoint_id"), table_name="stops")
    op.drop_table("stops")
    op.drop_table("proposals")
    op.drop_table("person_screenings")
    op.drop_index(op.f("ix_nationality_records_person_id"), table_name="nationality_records")
    op.drop_table("nationality_records")
    op.drop_table("nationality_commitments")
    op.drop_index(op.f("ix_grants_organization_id"), table_name="grants")
    op.drop_table("grants")
    op.drop_table("export_assessments")
    op.drop_table("directives")
    op.drop_index(op.f("ix_break_glasses_organization_id"), table_name="break_glasses")
    op.drop_table("break_glasses")
    op.drop_table("approvals")
    op.drop_index(op.f("ix_api_keys_caller_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("agents")
    op.drop_table("programme")
    op.drop_table("people")
    op.drop_table("ownerships")
    op.drop_table("organization_screenings")
    op.drop_table("models")
    op.drop_table("jurisdictions")
    op.drop_table("endpoints")
    op.drop_table("callers")
    op.drop_index("uq_touched_open", table_name="touched", postgresql_where=sa.text("n IS NULL"))
    op.drop_index("ix_touched_n", table_name="touched")
    op.drop_table("touched")
    op.drop_table("switches")
    op.drop_table("revision_stamps")
    op.drop_table("revision")
    op.drop_table("policy_revisions")
    op.drop_table("organizations")
    op.drop_table("log_entries")
    op.drop_table("data_sets")
    op.drop_table("authorities")
