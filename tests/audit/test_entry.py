import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mythos_gate.audit.entry import (
    LARGEST,
    PLACE,
    canonical,
    fill,
    leaf_hash,
    template,
    timestamp,
    uuid7,
    uuid7_time,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=20,
)


def by_the_letter(value):
    """RFC 8785 for this profile by the standard library: escapes as ECMAScript's JSON.stringify has them."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


@given(VALUES)
def test_canonical_bytes_are_those_of_rfc_8785(value):
    assert by_the_letter(value) == canonical(value)


@given(VALUES)
def test_no_raw_line_feed_occurs_so_a_line_of_an_export_is_a_leaf(value):
    assert b"\n" not in canonical(value)


@pytest.mark.parametrize(
    "value", [1.5, 2**53, {"Upper": 1}, {"a-b": 1}, {1: 2}, b"x", "\ud800", {"a": [float("nan")]}], ids=repr
)
def test_what_is_outside_the_profile_is_refused(value):
    with pytest.raises(ValueError, match="log entry"):
        canonical(value)


@given(st.dictionaries(st.sampled_from(["a", "m", "o", "q", "z", "at"]), VALUES), st.integers(1, 2**40))
def test_a_filled_template_is_the_canonical_body(members, n):
    filled = fill(template(members, PLACE), (n, "ab", "pdp-1"))
    assert canonical({**members, "n": n, "prev": "ab", "writer": "pdp-1"}) == filled


def test_a_body_over_the_limit_is_refused():
    with pytest.raises(ValueError, match="at most"):
        fill(template({"a": "x" * LARGEST}, PLACE), (1, None, "w"))


def test_the_leaf_hash_is_that_of_rfc_9162():
    assert leaf_hash(b"{}") == sha256(b"\x00{}").digest()
    # RFC 6962 2.1.1's example of an empty leaf.
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_a_timestamp_is_in_utc_with_six_digits():
    at = datetime(2026, 11, 23, 12, 0, 0, 5, UTC)
    assert timestamp(at) == "2026-11-23T12:00:00.000005Z"
    assert timestamp(datetime(225, 1, 2, 3, 4, 5, tzinfo=UTC)) == "0225-01-02T03:04:05.000000Z"


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_timestamp_can_be_read_again(at):
    assert datetime.fromisoformat(timestamp(at)) == at


@given(st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1)), st.binary(min_size=10, max_size=10))
def test_a_uuid7_names_its_millisecond(naive, random):
    at = naive.replace(tzinfo=UTC)
    made = UUID(uuid7(at, random))
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert abs(uuid7_time(made) - at) <= timedelta(milliseconds=1)
