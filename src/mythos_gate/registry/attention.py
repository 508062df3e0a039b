"""Attention: what expires or falls due, soonest first."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.terms import DATA_REVIEW

# What is of one organization's staff: its own administrators see it as well.
STAFF = """
SELECT p.training_expires AS due, 'training' AS kind, 'person' AS noun, p.id, p.external_id AS name, p.organization_id
FROM people p WHERE p.status = 'active' AND p.employment <> 'ended'
UNION ALL SELECT p.review_due, 'review', 'person', p.id, p.external_id, p.organization_id
FROM people p WHERE p.status = 'active' AND p.employment <> 'ended'
UNION ALL SELECT a.expires_at, 'credential', 'agent', a.id, a.external_id, a.organization_id
FROM agents a WHERE a.status = 'active'
"""
# With an authority its own instruments alone.
PROGRAMME = """
SELECT g.not_after AS due, 'grant' AS kind, 'grant' AS noun, g.id, g.reference AS name, g.organization_id
FROM grants g WHERE g.status = 'active' AND (CAST(:authority AS text) IS NULL OR g.authority_id = :authority)
UNION ALL SELECT d.ends_at, 'directive', 'directive', d.id, d.reference, NULL FROM directives d
WHERE CAST(:authority AS text) IS NULL OR d.authority_id = :authority
UNION ALL SELECT d.reviewed_at + CAST(:data_review AS interval), 'data_set', 'data_set', d.id, d.version, NULL
FROM data_sets d JOIN programme ON data_set_id = d.id
UNION ALL SELECT d.starts_at, 'directive_simulation', 'directive', d.id, d.reference, NULL
FROM directives d WHERE (CAST(:authority AS text) IS NULL OR d.authority_id = :authority)
  AND (d.ends_at IS NULL OR d.ends_at > clock_timestamp()) AND NOT EXISTS (
    SELECT FROM policy_reports r WHERE r.kind = 'impact' AND (r.draft -> 'amended' ? d.id OR EXISTS (
      SELECT FROM jsonb_array_elements(r.draft -> 'directives') AS o
      WHERE (o ->> 'model', o ->> 'applies_to') = (d.model_id, d.applies_to)
        AND o -> 'versions' @> to_jsonb(d.versions) AND o -> 'versions' <@ to_jsonb(d.versions))))
UNION ALL SELECT b.expires_at, 'break_glass_review', 'break_glass', b.id, b.incident, b.organization_id
FROM break_glasses b WHERE b.reviewed_at IS NULL
"""
EVIDENCE = "evidence"
ASSESSMENTS = f"""
SELECT e.evidence_expires, '{EVIDENCE}', 'person', p.id, p.external_id, p.organization_id
FROM export_assessments e JOIN people p ON p.id = e.person_id
WHERE p.status = 'active' AND p.employment <> 'ended' AND e.us_person = 'no'
"""  # noqa: S608  no more than a name of ours


EVER = datetime.min.replace(tzinfo=UTC)


async def due(
    connection: AsyncConnection,
    *,
    own: str | None,
    authority: str | None,
    assessments: bool,
    since: datetime,
    until: datetime,
    after: tuple[datetime, str, str] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """What falls due in [since, until), behind the given place, and what has to be reviewed since whenever.

    With `own` of that organization's staff alone, with `authority` of its instruments and the programme.
    """
    listed = (
        [STAFF] if own else [PROGRAMME] if authority else [STAFF, PROGRAMME, *([ASSESSMENTS] if assessments else [])]
    )
    parts = " UNION ALL ".join(listed)
    query = (
        f"SELECT d.due, d.kind, d.noun, d.id, d.name, o.slug AS organization FROM ({parts}) d"  # noqa: S608
        " LEFT JOIN organizations o ON o.id = d.organization_id"
        " WHERE (d.due >= :since OR d.kind IN ('break_glass_review', 'data_set', 'directive_simulation'))"
        " AND d.due < :until"
        " AND (d.due, d.kind, d.id) > (:due, :kind, :id)"
        f"{' AND d.organization_id = :own' if own else ''} ORDER BY d.due, d.kind, d.id LIMIT :limit"
    )
    place = dict(zip(("due", "kind", "id"), after or (EVER, "", ""), strict=True))
    bounds = {"since": since, "until": until, "limit": limit, "data_review": DATA_REVIEW}
    found = await connection.execute(text(query), {**place, **bounds, "own": own, "authority": authority})
    return [{**row, "due": timestamp(row["due"])} for row in found.mappings()]
