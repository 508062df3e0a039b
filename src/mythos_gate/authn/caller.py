"""Who calls: what is on record for a key, for every route alike."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.authn.api_keys import STORED, Caller, Presented, verify

# Of a person `p`, who may be none.
LEFT = "coalesce(p.status = 'suspended' OR p.employment = 'ended', false)"
# `{key}`: the key's id. Who has left, is suspended or locked for an incident, or whose organization is terminated, is
# `gone`.
STORED_KEY = f"""
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
FROM api_keys k JOIN callers c ON c.id = k.caller_id
LEFT JOIN organizations o ON o.id = c.organization_id
LEFT JOIN authorities a ON a.id = c.authority_id
LEFT JOIN people p ON p.id = c.person_id
LEFT JOIN organizations home ON home.id = p.organization_id
WHERE k.id = {{key}}"""  # noqa: S608
FOUND = text(f"SELECT clock_timestamp() AS now, ({STORED_KEY.format(key=':key')}) AS stored")
HASHES = text("SELECT id, hash FROM api_keys WHERE revoked_at IS NULL ORDER BY created_at DESC LIMIT :limit")


async def authenticate(connection: AsyncConnection, presented: Presented) -> Caller:
    """`NotAuthenticated` unless the key is known, right and live."""
    row = (await connection.execute(FOUND, {"key": presented.id})).one()
    return verify(presented, STORED.validate_python(row.stored), row.now)


async def hashes(connection: AsyncConnection, limit: int) -> dict[str, bytes]:
    """The hash of each key that was not revoked, the newest first."""
    found = await connection.execute(HASHES, {"limit": limit})
    return {row.id: bytes(row.hash) for row in found}
