"""Files that people write: the host's settings, a repository's setup file, the override file."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder.errors import HostConfigError
from coder.model.providers import Damage
from coder.model.setups import SetupState
from coder.providers.overrides import Override, parse_override, read_overrides
from coder.recipes import read_setup
from coder.settings import Settings, load_settings
from coder.testing.repositories import git, make_repository
from tests.fuzz.drawing import draw, often, texts, values

DEEP = b"a = " + b"[" * 30_000


def toml(names: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Something like TOML with these names in it, or not."""
    plain = st.booleans().map(lambda value: str(value).lower()) | st.integers().map(str) | st.floats().map(str)
    quoted = texts.map(lambda text: json.dumps(text, ensure_ascii=False))
    arrays = st.lists(plain | quoted, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
    tables = st.lists(quoted | plain, max_size=2).map(lambda parts: f"{{ command = {''.join(parts[:1])} }}")
    named = st.tuples(st.sampled_from(names) | texts, plain | quoted | arrays | tables)
    settings = named.map(lambda pair: f"{pair[0]} = {pair[1]}")
    heads = st.sampled_from(names).map(lambda name: f"[{name}]")
    return (
        st.binary(max_size=40)
        | st.just(DEEP)
        | st.lists(settings | heads | texts, max_size=5).map(
            lambda parts: "\n".join(parts).encode("utf-8", "surrogatepass")
        )
    )


@pytest.mark.scenario("fuzz: Any file of settings")
@often(100)
@given(content=toml(list(Settings.model_fields)))
def test_any_file_of_settings_is_used_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "config.toml").write_bytes(content)
    with suppress(HostConfigError):
        assert load_settings(home=home).home == home


@pytest.mark.scenario("fuzz: Any file of settings")
def test_settings_that_are_no_file_are_refused_in_words(tmp_path: Path) -> None:
    folder, locked = tmp_path / "folder", tmp_path / "locked"
    (folder / "config.toml").mkdir(parents=True)
    locked.mkdir()
    (locked / "config.toml").symlink_to("config.toml")
    for home in (folder, locked):
        with suppress(HostConfigError):
            load_settings(home=home)


@pytest.mark.scenario("fuzz: Any setup file")
async def test_any_setup_file_is_understood_or_refused_in_words(tmp_path: Path) -> None:
    names = ["include", "submodules", "ports", "env", "setup", "teardown", "setup.command", "timeout", "X_PORT"]
    contents = [DEEP, b"[setup]\ncommand = 'true'\n", *draw(toml(names), 60)]
    repository = make_repository(tmp_path / "repository")
    commits = _commit_each(repository, ".coder/worktree.toml", contents)
    states: set[SetupState] = set()
    for commit, content in zip(commits, contents, strict=True):
        setup = await read_setup(repository, commit, "ses_1")
        assert setup is not None, content
        assert (setup.recipe is None) == (setup.error is not None) == (setup.state is SetupState.FAILED), content
        states.add(setup.state)
    assert {SetupState.FAILED, SetupState.UNTRUSTED} <= states


def _commit_each(repository: Path, path: str, contents: Sequence[bytes]) -> list[str]:
    """One commit for each content."""
    stream = b""
    for number, content in enumerate(contents):
        stream += b"commit refs/heads/fuzz-%d\ncommitter a <a@b> 0 +0000\ndata 0\n" % number
        stream += b"M 644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content)
    git(repository, "fast-import", "--quiet", input=stream)
    return [git(repository, "rev-parse", f"fuzz-{number}").strip() for number in range(len(contents))]


fields = list(Override.model_fields)
entries = st.dictionaries(st.sampled_from(fields) | texts, values, max_size=5)
documents: st.SearchStrategy[Any] = st.one_of(
    values,
    st.dictionaries(st.sampled_from(["claude", "mine"]) | texts, entries | values).map(
        lambda some: {"providers": some}
    ),
)


@pytest.mark.scenario("fuzz: Any override file")
@often(150)
@given(content=documents.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_any_override_file_is_read_and_its_damage_named(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("overrides") / "coder-providers.json"
    path.write_bytes(content)
    found = read_overrides(path, {"claude"})
    named = {damage.id for damage in found.damage}
    assert set(found.raw) - set(found.overrides) <= named
    assert all(isinstance(damage, Damage) and damage.message for damage in found.damage)
    for id in found.overrides:
        assert parse_override(id, found.raw[id], {"claude"}) == found.overrides[id]
    if found.document is None:
        assert found.damage
