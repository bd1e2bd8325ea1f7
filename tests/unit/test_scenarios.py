"""Every OpenSpec scenario is named by a test, and every name in a test is a scenario's."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEC_PLACES = ("openspec/specs/**/spec.md", "openspec/changes/*/specs/**/spec.md")
WEB_TESTS = re.compile(r"\.(test|spec)\.tsx?$")
REMOVED = re.compile(r"^## REMOVED Requirements$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SCENARIO = re.compile(r"^#### Scenario: (.+?)\s*$", re.MULTILINE)


def test_every_scenario_is_named_by_a_test() -> None:
    marked, web = set(markers()), "\n".join(path.read_text() for path in web_tests())
    unnamed = [scenario for scenario in scenarios() if scenario not in marked and scenario not in web]
    assert not unnamed, "no test names these scenarios:\n" + "\n".join(unnamed)


def test_every_name_in_a_test_is_a_scenario() -> None:
    known = set(scenarios())
    unknown = sorted(set(markers()) - known)
    assert not unknown, "these names in tests are no scenarios:\n" + "\n".join(unknown)


def test_no_scenario_is_there_twice_in_one_spec() -> None:
    for path in spec_files():
        names = SCENARIO.findall(path.read_text())
        assert len(names) == len(set(names)), path


def scenarios() -> list[str]:
    """`capability: scenario` of everything that the specs and the open changes promise."""
    found = (
        f"{path.parent.name}: {name}"
        for path in spec_files()
        for name in SCENARIO.findall(REMOVED.sub("", path.read_text()))
    )
    return list(dict.fromkeys(found))


def spec_files() -> list[Path]:
    return sorted(path for place in SPEC_PLACES for path in ROOT.glob(place))


def markers() -> Iterator[str]:
    """The arguments of every `pytest.mark.scenario(...)`."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.scenario":
                yield from (ast.literal_eval(argument) for argument in node.args)


def web_tests() -> Iterator[Path]:
    for folder in (ROOT / "web" / "src", ROOT / "web" / "tests"):
        yield from sorted(path for path in folder.rglob("*") if WEB_TESTS.search(path.name))
