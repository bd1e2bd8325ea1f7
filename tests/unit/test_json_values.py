"""There is one way in for JSON."""

import ast
from pathlib import Path

import pytest

import coder

HOUSE = Path(coder.__file__).parent
OWN = {"json_values.py", "store/database.py", "api/idempotency.py", "providers/registry.py", "api/errors.py"}
"""The one way in, and who reads what the host itself has written."""


@pytest.mark.scenario("fuzz: One parser and one cleaner")
def test_nothing_else_parses_json() -> None:
    found = {str(path.relative_to(HOUSE)) for path in HOUSE.rglob("*.py") if _parses(path)}

    assert {name for name in found if not name.startswith("testing/")} == OWN


def _parses(path: Path) -> bool:
    names = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute))
    return any(
        node.attr in ("load", "loads", "JSONDecoder")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("json", "orjson")
        for node in names
    )
