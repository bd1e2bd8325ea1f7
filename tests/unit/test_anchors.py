"""Lines found again by their content."""

import pytest

from coder.model.comments import Anchor
from coder.worktrees.anchors import Lines, anchor_at, find, lines_of

FUNCTIONS = "def one():\n    return 1\n}\n\ndef two():\n    return 1\n}\n"


def text(content: str) -> Lines:
    lines = lines_of(content.encode())
    assert lines is not None
    return lines


def anchor(content: str, line: int) -> Anchor:
    return anchor_at(text(content), "new", line)


def test_an_anchor_keeps_its_line_and_the_lines_around_it() -> None:
    found = anchor("a\nb\nc\nd\ne\nf\ng\nh\n", 5)
    assert (found.line, found.text, found.before, found.after) == (5, "e", ("b", "c", "d"), ("f", "g", "h"))


@pytest.mark.parametrize("line", [0, -1, 3])
def test_a_line_that_the_text_does_not_have_is_refused(line: int) -> None:
    with pytest.raises(IndexError):
        anchor("a\nb\n", line)


@pytest.mark.parametrize(
    ("content", "line", "later", "expected"),
    [
        pytest.param("a\nb\nc\n", 2, "a\nb\nc\n", 2, id="stays"),
        pytest.param("a\nb\nc\n", 2, "x\ny\na\nb\nc\n", 4, id="moves down with its neighbours"),
        pytest.param("a\nb\nc\n", 3, "c\n", 1, id="moves up, alone"),
        pytest.param("a\nb\nc\n", 2, "a\nB\nc\n", None, id="is edited"),
        pytest.param("a\nb\nc\n", 2, "", None, id="everything is gone"),
        pytest.param(
            FUNCTIONS, 6, f"import x\n\n{FUNCTIONS}", 8, id="the one of two equal lines that has its neighbours"
        ),
        pytest.param(FUNCTIONS, 2, f"import x\n\n{FUNCTIONS}", 4, id="the other one"),
        pytest.param("same\nsame\nsame\n", 2, "same\nsame\nsame\n", 2, id="among equals"),
        pytest.param("x\ny\n", 1, "x\na\nb\nx\n", 1, id="two of equal likeness, one at the old number"),
        pytest.param("p\nx\nq\n", 2, "a\nb\nx\nc\nx\n", None, id="two of equal likeness, none at the old number"),
        pytest.param("a\n}\nb\n", 2, "x\n}\ny\n", None, id="a bracket among strangers"),
        pytest.param("a\n}\nb\n", 2, "new\na\n}\ny\n", 3, id="a bracket with a neighbour"),
        pytest.param("}\n", 1, "}\n", 1, id="a bracket that is the whole text"),
        pytest.param("a\r\nb\r\n", 2, "x\na\nb\n", 3, id="other line ends"),
        pytest.param("a\nb", 2, "a\nb\n", 2, id="a line end at the end"),
        pytest.param("k" * 5000 + "\n", 1, "a\n" + "k" * 5000, 2, id="a very long line"),
    ],
)
def test_a_line_is_found_where_it_went(content: str, line: int, later: str, expected: int | None) -> None:
    assert find(anchor(content, line), text(later)) == expected


def test_a_file_with_a_nul_byte_is_no_text() -> None:
    assert lines_of(b"a\0b\n") is None


def test_bytes_that_are_no_utf8_are_lines_all_the_same() -> None:
    found = lines_of(b"caf\xe9\nb\n")
    assert found is not None
    assert len(found.lines) == 2
