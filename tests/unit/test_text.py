"""What may be stored: cleaning replaces and never refuses."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder.json_values import clean_json, clean_text
from coder.model.events import Text
from coder.store.text import encode_json, encode_model, encode_text

any_text = st.text(st.characters(categories=["Lu", "Cc", "Cs", "So"]))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
    max_leaves=20,
)


@given(any_text)
def test_cleaned_text_can_be_stored_and_is_not_cleaned_again(text: str) -> None:
    cleaned = clean_text(text)
    assert "\0" not in cleaned
    assert cleaned.encode() == encode_text(text)
    assert clean_text(cleaned) == cleaned


@given(any_json)
def test_any_json_value_can_be_stored(value: object) -> None:
    data = encode_json(value)
    assert b"\\u0000" not in data
    orjson.loads(data)


@given(any_text)
def test_any_event_can_be_stored(text: str) -> None:
    assert orjson.loads(encode_model(Text(text=text)))["text"] == clean_text(text)


def test_clean_values_are_left_alone() -> None:
    value = {"text": "ü😀", "backslash": "\\u0000", "list": [1, 2.5, None, True]}
    assert clean_json(value) == value
    assert orjson.loads(encode_json(value)) == value
    assert clean_text("\ud83d\ude00") == "😀"


def test_deep_nesting_and_large_numbers_are_replaced() -> None:
    deep: list[object] = []
    for _ in range(1000):
        deep = [deep]
    assert orjson.loads(encode_json(deep))
    assert orjson.loads(encode_json([10**30, float("inf")])) == [str(10**30), None]


def test_ready_json_passes_as_it_is() -> None:
    assert encode_json(b'{"a": 1}') == b'{"a": 1}'
    with pytest.raises(TypeError):
        clean_json(object())
