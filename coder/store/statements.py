"""The named SQL statements of `coder/store/sql`: one file per noun, one `-- name:` line before each statement."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"
_MARK = "-- name: "


@cache
def all_statements() -> Mapping[str, str]:
    """Every statement by its name. A name that is given twice is a programming error."""
    statements: dict[str, str] = {}
    for path in sorted(_FOLDER.glob("*.sql")):
        for block in path.read_text(encoding="utf-8").split(_MARK)[1:]:
            name, _, text = block.partition("\n")
            if name.strip() in statements:
                raise ValueError(f"statement {name.strip()} is there twice")
            statements[name.strip()] = text.strip().removesuffix(";")
    return statements


def sql(name: str) -> str:
    """The text of one statement; KeyError where there is none of that name."""
    return all_statements()[name]
