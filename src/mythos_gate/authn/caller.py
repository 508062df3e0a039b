"""Who calls: what is on record for a key or a token, for every route alike."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.authn.api_keys import STORED as STORED_AS
from mythos_gate.authn.api_keys import Caller, Presented
from mythos_gate.authn.bearer import Credential, verify
from mythos_gate.authn.tokens import Token

# Of a person `p`, who may be none.
LEFT = "coalesce(p.status = 'suspended' OR p.employment = 'ended', false)"
# Who has left, is suspended or locked for an incident, or whose organization is terminated, is `gone`.
STORED = f"""
SELECT jsonb_build_object(
  'caller', jsonb_build_object(
    'id', c.id, 'name', c.name, 'key_id', k.id, 'roles', c.roles, 'is_service', c.kind = 'service',
    'organization', o.slug, 'organization_id', c.organization_id,
    'authority', a.slug, 'authority_id', c.authority_id,
    'person', home.slug || '/' || p.external_id, 'person_id', c.person_id,
    'models', c.models, 'organizations', c.organizations),
  'hash', encode(k.hash, 'hex'), 'expires_at', k.expires_at, 'revoked_at', k.revoked_at,
  'gone', coalesce(o.status = 'terminated', false) OR {LEFT}
    OR EXISTS (SELECT FROM stops s WHERE s.person_id = c.person_id AND s.lifted_at IS NULL))
FROM {{presented}}
LEFT JOIN organizations o ON o.id = c.organization_id
LEFT JOIN authorities a ON a.id = c.authority_id
LEFT JOIN people p ON p.id = c.person_id
LEFT JOIN organizations home ON home.id = p.organization_id
WHERE {{right}}"""  # noqa: S608
# `{key}`: the key's id.
STORED_KEY = STORED.format(presented="api_keys k JOIN callers c ON c.id = k.caller_id", right="k.id = {key}")
# `{key}`: what a token claims (`tokens.Claimed.id`). If anything that it names is not on record, the token is nobody's.
# Who is on record as a person speaks for themselves; any other holder is a service.
STORED_TOKEN = STORED.format(
    presented="""jsonb_to_record(CAST({key} AS jsonb)) AS t (id text, key text, roles text[], organization text,
  authority text, models text[], organizations text[], home text, external_id text)
CROSS JOIN LATERAL (SELECT t.key AS id, CAST('' AS bytea) AS hash, CAST(NULL AS timestamptz) AS expires_at,
  CAST(NULL AS timestamptz) AS revoked_at) k
CROSS JOIN LATERAL (
  SELECT t.id, t.id AS name, t.roles, CASE WHEN t.external_id IS NULL THEN 'service' ELSE 'person' END AS kind,
    (SELECT o.id FROM organizations o WHERE o.slug = t.organization) AS organization_id,
    (SELECT a.id FROM authorities a WHERE a.slug = t.authority) AS authority_id,
    (SELECT p.id FROM people p JOIN organizations o ON o.id = p.organization_id
     WHERE o.slug = t.home AND p.external_id = t.external_id) AS person_id,
    t.models, CASE WHEN t.organizations IS NOT NULL THEN
      ARRAY(SELECT o.id FROM organizations o WHERE o.slug = ANY (t.organizations) ORDER BY o.id) END AS organizations
) c""",
    right="""num_nulls(t.organization, t.authority, t.external_id)
  = num_nulls(c.organization_id, c.authority_id, c.person_id)
  AND cardinality(t.organizations) IS NOT DISTINCT FROM cardinality(c.organizations)""",
)
FOUND = {
    kind: text(f"SELECT clock_timestamp() AS now, ({statement.format(key=':key')}) AS stored")
    for kind, statement in ((Presented, STORED_KEY), (Token, STORED_TOKEN))
}

HASHES = text("""
SELECT id, hash FROM (
  SELECT id, hash, created_at FROM api_keys WHERE revoked_at IS NULL
  UNION ALL SELECT id, hash, created_at FROM invitations WHERE state <> 'withdrawn') known
ORDER BY created_at DESC LIMIT :limit""")


async def authenticate(connection: AsyncConnection, presented: Credential) -> Caller:
    """`NotAuthenticated` unless it is known, right and live."""
    row = (await connection.execute(FOUND[type(presented)], {"key": presented.id})).one()
    return verify(presented, STORED_AS.validate_python(row.stored), row.now)


async def hashes(connection: AsyncConnection, limit: int) -> dict[str, bytes]:
    """The hash of each key that was not revoked and of each invitation not withdrawn, the newest first."""
    found = await connection.execute(HASHES, {"limit": limit})
    return {row.id: bytes(row.hash) for row in found}
