from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mythos_gate.authn import api_keys
from mythos_gate.errors import NotAuthenticated
from mythos_gate.terms import Role

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def stored(presented: api_keys.Presented, **changes: object) -> api_keys.Stored:
    caller = api_keys.Caller("cal_1", "gw", presented.id, frozenset({Role.GATEWAY}))
    return api_keys.Stored(**({"caller": caller, "hash": presented.hash.hex()} | changes))  # type: ignore[arg-type]


def test_a_new_key_is_read_back_and_verified():
    text, kept = api_keys.create()
    assert kept == api_keys.bearer(f"Bearer {text}")
    assert api_keys.verify(kept, stored(kept), NOW) == api_keys.Caller(
        "cal_1", "gw", kept.id, frozenset({Role.GATEWAY})
    )


def test_the_secret_is_not_what_is_kept():
    text, kept = api_keys.create()
    assert text.split("_")[2] not in (kept.id, kept.hash.hex())


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "00" * 32},
        {"expires_at": NOW},
        {"expires_at": NOW - timedelta(seconds=1)},
        {"revoked_at": NOW - timedelta(days=1)},
        {"gone": True},
    ],
    ids=["another secret", "expiring now", "expired", "revoked", "of somebody who has left"],
)
def test_a_key_does_not_pass(change):
    _, kept = api_keys.create()
    with pytest.raises(NotAuthenticated, match="not valid"):
        api_keys.verify(kept, stored(kept, **change), NOW)


def test_an_unknown_key_does_not_pass():
    _, kept = api_keys.create()
    with pytest.raises(NotAuthenticated, match="not valid"):
        api_keys.verify(kept, None, NOW)


@given(st.text(st.characters()) | st.just("mgk_a_b_c") | st.none())
def test_any_other_text_is_refused_as_malformed(text):
    with pytest.raises(NotAuthenticated, match="malformed"):
        api_keys.bearer(text)


def test_one_changed_letter_breaks_the_checksum():
    text, _ = api_keys.create()
    changed = text[:30] + ("0" if text[30] != "0" else "1") + text[31:]
    with pytest.raises(NotAuthenticated, match="malformed"):
        api_keys.parse(changed)


def test_another_scheme_is_refused():
    text, _ = api_keys.create()
    assert api_keys.bearer(f"bearer {text}")
    with pytest.raises(NotAuthenticated):
        api_keys.bearer(f"Basic {text}")
