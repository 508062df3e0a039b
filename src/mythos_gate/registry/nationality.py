"""Nationality in the log: that it changed, and a salted commitment that can be opened until the record is erased."""

from collections.abc import Iterable
from hashlib import sha256

from sqlalchemy import text

from mythos_gate.registry.change import Change

NAMED = 100  # people whose commitments an entry names one by one

# Countries are few, so a bare hash of a record could be guessed: only who has the salt can open a commitment.
COMMIT = text("""
WITH salted AS (
  SELECT person, substring(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) FOR 16) AS salt
  FROM unnest(cast(:people AS text[])) AS person
)
INSERT INTO nationality_commitments (person_id, salt, commitment)
SELECT person, salt, sha256(salt || convert_to(export_assessment(person)::text, 'UTF8')) FROM salted
RETURNING person_id, encode(commitment, 'hex')
""")


async def commit(change: Change, people: Iterable[str]) -> None:
    """Note in the change's entry whose assessment or records changed, and a commitment to what they are now."""
    changed = sorted(set(people))
    if not changed:
        return
    made = sorted(
        (person, commitment) for person, commitment in await change.connection.execute(COMMIT, {"people": changed})
    )
    if len(made) <= NAMED:
        change.details["nationality"] = [{"person": person, "commitment": hashed} for person, hashed in made]
    else:
        listed = "\n".join(f"{person} {hashed}" for person, hashed in made)
        change.details["nationality_sha256"] = sha256(listed.encode()).hexdigest()
