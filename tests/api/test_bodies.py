"""The one parser: what is refused, as what, and that nothing makes it slow."""

import json
import time
from contextlib import suppress
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from coder.api.bodies import parse_model, parse_query, read_bytes
from coder.api.queries import PageQuery
from coder.errors import InvalidInput, MalformedBody, TooSlow
from coder.json_values import check_json
from coder.protocol import NewProject, Prompt

MALFORMED = [
    b"",
    b"{",
    b"nul",
    b"{'a': 1}",
    b'{"a": 1,}',
    b'{"a": NaN}',
    b'{"a": -Infinity}',
    b'{"a": 1, "a": 2}',
    b'{"a": {"b": 1, "b": 2}}',
    b"\xef\xbb\xbf{}",
    b'{"a": "\xff"}',
    '{"a": "ü"}'.encode("latin-1"),
    '{"a": 1}'.encode("utf-16"),
    b'{"a": "\x00"}',
    b'{"a": "\n"}',
    b"[" * 65 + b"]" * 65,
    b'{"a":' * 100_000,
    b"[" * 500_000,
    b"[" + b"0," * 300_000 + b"0]",
    b"{} {}",
]
UNUSABLE = [
    b'{"a": 1e400}',
    b'{"a": 9223372036854775808}',
    b'{"a": -9223372036854775809}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b'{"a": "\\u0000"}',
    b'{"\\u0000": 1}',
    b'{"a": "\\ud800"}',
    b'{"a": ["\\udfff"]}',
]


async def test_a_body_that_does_not_arrive_is_not_waited_for():
    async def receive() -> Message:
        if not chunks:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": chunks.pop(), "more_body": True}

    chunks = [b'{"name"']
    headers = [(b"content-type", b"application/json")]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
    with anyio.fail_after(5), pytest.raises(TooSlow):
        await read_bytes(request, 1000, deadline=0.01)


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: repr(data[:20]))
def test_what_is_not_json_of_bounded_depth_is_malformed(data: bytes):
    with pytest.raises(MalformedBody):
        check_json(data)


@pytest.mark.parametrize("data", UNUSABLE, ids=lambda data: repr(data[:20]))
def test_what_the_database_could_not_hold_is_invalid(data: bytes):
    with pytest.raises(InvalidInput) as caught:
        check_json(data)
    assert not isinstance(caught.value, MalformedBody)


def test_brackets_inside_strings_are_no_depth():
    check_json(b'{"a": "' + b"[{" * 1000 + b'\\"[[["}')


def test_a_pair_of_surrogates_is_one_character():
    check_json(b'{"a": "\\ud83d\\ude00"}')


@pytest.mark.parametrize("data", [b'"' + b'\\"' * 500_000, b"[" + b'"a",' * 150_000, b'"' + b"\\\\" * 500_000])
def test_a_hostile_body_is_refused_quickly(data: bytes):
    begun = time.process_time()
    with pytest.raises(MalformedBody):
        check_json(data)
    assert time.process_time() - begun < 2


def test_types_are_taken_literally():
    with pytest.raises(InvalidInput) as caught:
        parse_model(Prompt, b'{"agent": "demo", "input": 5, "model": true, "extra": 1}')
    faults = cast(list[dict[str, Any]], caught.value.fields["errors"])
    assert [fault["loc"] for fault in faults] == ["input", "model", "extra"]


def test_a_fault_never_repeats_what_was_sent():
    with pytest.raises(InvalidInput) as caught:
        parse_model(NewProject, b'{"repo_path": {"secret": "hunter2"}}')
    assert "hunter2" not in f"{caught.value} {caught.value.fields}"


@pytest.mark.parametrize(
    "query",
    [
        b"limit=0",
        b"limit=501",
        b"limit=x",
        b"limit=",
        b"limit=1&limit=2",
        b"limits=1",
        b"cursor=%00",
        b"cursor=%ff",
        b"cursor=",
        b"cursor=" + b"x" * 501,
        b"a=1" * 5000,
        b"&".join(b"a%d=1" % number for number in range(60)),
    ],
    ids=lambda query: repr(query[:20]),
)
def test_a_query_that_is_not_understood_is_refused(query: bytes):
    with pytest.raises(InvalidInput):
        parse_query(PageQuery, query)


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(data: bytes):
    with suppress(InvalidInput):
        parse_model(Prompt, data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_json_is_parsed_or_refused(value: object):
    with suppress(InvalidInput):
        parse_model(Prompt, json.dumps({"agent": "demo", "input": value}).encode())
