"""Most bodies are read without Pydantic: what is found is what `Evaluation` finds, or left to it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mythos_gate.api.authzen import Evaluation, plain

VALUE: st.SearchStrategy[Any] = st.sampled_from(
    [
        "person",
        "acme/us",
        "invoke",
        "US",
        " de ",
        "a\x00b",
        "x" * 256,
        "x" * 257,
        "",
        None,
        1,
        0,
        True,
        False,
        1.5,
        [],
        {},
        ["a"],
        {"a": "b"},
    ]
)
TEXT = st.sampled_from(["person", "acme/us", "US", " germany ", "x" * 256, ""])


def objects(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly as they should be: each member may be missing or anything, and others are there."""
    optional = {name: member | member | member | VALUE for name, member in members.items()} | {"other": VALUE}
    return st.fixed_dictionaries({}, optional=optional)


SENT = objects(
    subject=objects(type=TEXT, id=TEXT),
    action=objects(name=TEXT, properties=objects(capability=TEXT, purpose=TEXT)),
    resource=objects(type=TEXT, id=TEXT, properties=objects(version=TEXT)),
    context=objects(
        location=objects(country=TEXT, region=TEXT, anonymizer=st.booleans(), conflict=st.booleans()),
        endpoint=TEXT, session=objects(mfa=TEXT), break_glass=TEXT,
    ),
)  # fmt: skip
WHOLE: dict[str, Any] = {
    "subject": {"type": "person", "id": "acme/us"},
    "action": {"name": "invoke", "properties": {"capability": "scan", "purpose": "defence"}},
    "resource": {"type": "model", "id": "m", "properties": {"version": "5.1"}},
    "context": {
        "location": {"country": "germany", "region": "de-be", "anonymizer": True, "conflict": True},
        "endpoint": "ep-1", "session": {"mfa": "password"}, "break_glass": "inc-1",
    },
}  # fmt: skip


@given(SENT | VALUE)
def test_what_it_finds_is_what_the_shape_finds(sent):
    found = plain(sent)
    if found is not None:
        assert found == Evaluation.model_validate(sent).request()


def places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [path, *(place for name, each in value.items() for place in places(each, (*path, name)))]


def changed(value: Any, path: tuple[str, ...], by: Any) -> Any:
    return by if not path else {**value, path[0]: changed(value[path[0]], path[1:], by)}


@given(st.sampled_from(places(WHOLE)), VALUE)
def test_nothing_that_the_shape_refuses_gets_by(path, value):
    sent = changed(WHOLE, path, value)
    try:
        expected = Evaluation.model_validate(sent).request()
    except ValidationError:
        assert plain(sent) is None
    else:
        assert plain(sent) in (None, expected)


def test_a_whole_body_needs_no_shape():
    assert plain(WHOLE) == Evaluation.model_validate(WHOLE).request()
    bare = {name: WHOLE[name] for name in ("subject", "action", "resource")}
    assert plain(bare) == Evaluation.model_validate(bare).request()
