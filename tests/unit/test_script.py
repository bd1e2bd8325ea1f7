import re

import pytest

from coder.testing import agent
from coder.testing.script import GRAMMAR, ScriptError, Statement, parse


def test_lines_and_semicolons_separate_statements():
    statements = parse("say hello\nsleep 5; counter")

    assert statements == [
        Statement("say", {"text": "hello"}),
        Statement("sleep", {"ms": "5"}),
        Statement("counter", {}),
    ]


def test_escapes_put_line_ends_tabs_spaces_and_semicolons_into_text():
    assert parse(r"write a.c int x\; \n\tint y\;\s") == [
        Statement("write", {"path": "a.c", "text": "int x; \n\tint y; "})
    ]


@pytest.mark.parametrize(
    "words", ["Write a poem", "write a poem", "delete everything", "edit the readme", "sleep well", "hang on", ""]
)
def test_what_a_person_would_type_is_no_script(words: str):
    assert parse(words) is None


def test_a_wrong_statement_in_a_script_is_named():
    with pytest.raises(ScriptError, match=r"wirte b\.txt"):
        parse("say hello; wirte b.txt x")


def test_the_help_names_every_verb():
    documented = set(re.findall(r"[a-z-]+", agent.__doc__ or ""))

    assert set(GRAMMAR) <= documented
