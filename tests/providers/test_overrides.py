"""The catalogue and the override file, without a database: what is read, kept, refused and written."""

import os
import re
import sys
from pathlib import Path

import orjson
import pytest

from coder import resources
from coder.errors import CoderError, Conflict, InvalidInput
from coder.model.values import Json
from coder.providers.overrides import OverrideFile, parse_override, read_overrides, save_overrides, stamp_of
from coder.providers.presence import presence_rows
from coder.providers.registry import Registry, load_builtin, load_registry, this_platform
from tests.providers.room import write_overrides

BUILTIN = ("opencode", "claude", "codex", "codex-rust", "gemini", "goose", "qwen", "agentao", "demo")
AMP: dict[str, Json] = {"extends": "acp", "label": "Amp", "command": ["amp-acp"]}


def registry(folder: Path, entries: dict[str, Json]) -> Registry:
    path = folder / "coder-providers.json"
    write_overrides(path, entries)
    return load_registry(path, {"HOME": str(folder)})


def test_the_catalogue_holds_the_agents_that_are_shipped() -> None:
    builtin = load_builtin()

    assert tuple(builtin) == BUILTIN
    assert builtin["demo"].command == (sys.executable, "-P", "-m", "coder.testing.agent")
    assert builtin["gemini"].command == ("gemini", "--acp")
    assert not any(provider.offer_fs or provider.offer_terminal for provider in builtin.values())
    assert all(provider.builtin and provider.install_hint for provider in builtin.values())


@pytest.mark.scenario("providers: an override changes a built-in entry")
def test_an_override_changes_only_what_it_names(tmp_path: Path) -> None:
    plain = load_builtin()["claude"]

    found = registry(tmp_path, {"claude": {"label": "Mine", "env": {"ANTHROPIC_BASE_URL": "http://localhost:1"}}})

    assert found.providers["claude"] == plain.model_copy(
        update={"label": "Mine", "env": {"ANTHROPIC_BASE_URL": "http://localhost:1"}}
    )
    assert found.file.damage == ()


@pytest.mark.scenario("providers: a custom agent joins by configuration alone")
def test_a_custom_agent_comes_after_the_built_in_ones_unless_it_is_ordered(tmp_path: Path) -> None:
    entries: dict[str, Json] = {"amp-acp": AMP, "first": {**AMP, "order": -1}, "goose": {"order": 5}}

    found = registry(tmp_path, entries)

    between = [name for name in BUILTIN if name not in ("goose", "demo")]
    assert list(found.providers) == ["first", *between, "amp-acp", "goose", "demo"]
    assert found.providers["amp-acp"].label == "Amp"
    assert not found.providers["amp-acp"].builtin


def test_models_are_read_in_both_spellings(tmp_path: Path) -> None:
    options: Json = [{"id": "high", "isDefault": True}]
    entries: dict[str, Json] = {
        "claude": {"models": [{"id": "a", "label": "A", "isDefault": True, "thinkingOptions": options}]},
        "codex": {"additionalModels": [{"id": "b"}]},
        "qwen": {"additional_models": [{"id": "c", "is_default": True}]},
    }

    found = registry(tmp_path, entries).providers

    assert found["claude"].models is not None
    model = found["claude"].models[0]
    assert model.is_default
    assert model.thinking_options[0].label == "high"
    assert [model.label for model in found["codex"].additional_models] == ["b"]
    assert found["qwen"].additional_models[0].is_default


def test_a_program_may_be_named_from_home_and_python_stands_for_this_interpreter(tmp_path: Path) -> None:
    entries: dict[str, Json] = {
        "mine": {**AMP, "command": ["~/bin/mine"]},
        "module": {**AMP, "command": ["{python}", "-m", "mine"]},
    }

    found = registry(tmp_path, entries).providers

    assert found["mine"].command == (str(tmp_path / "bin" / "mine"),)
    assert found["module"].command[0] == sys.executable


@pytest.mark.scenario("providers: a program that is named by its platform is found")
def test_platform_stands_for_the_words_that_programs_of_this_machine_are_named_by(tmp_path: Path) -> None:
    found = registry(tmp_path, {"mine": {**AMP, "command": ["mine-{platform}"]}}).providers

    assert re.fullmatch(rf"{sys.platform}-[a-z0-9_]+", this_platform())
    assert found["mine"].command == (f"mine-{this_platform()}",)
    assert found["codex-rust"].command == (f"codex-acp-{this_platform()}",)
    assert found["codex-rust"].install_hint == f"npm install -g @zed-industries/codex-acp-{this_platform()}"


def test_the_example_file_is_sound() -> None:
    root = resources.checkout_root()
    assert root is not None

    found = load_registry(root / "data" / "coder-providers.example.json", {})

    assert found.file.damage == ()
    assert not found.providers["goose"].enabled
    assert found.providers["amp-acp"].command == ("amp-acp",)


@pytest.mark.scenario("providers: a damaged file leaves the built-in agents")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"providers": []}',
        b'{"providers": {"claude": {"label": NaN}}}',
        b'{"providers": {"claude": {"label": "\\ud800"}}}',
        b"[" * 100_000,
        b" " * (1024 * 1024 + 1),
    ],
)
def test_a_damaged_file_is_reported_and_ignored(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "coder-providers.json"
    path.write_bytes(content)

    found = load_registry(path, {})

    assert tuple(found.providers) == BUILTIN
    assert [damage.id for damage in found.file.damage] == [None]
    assert found.file.document is None


def test_what_is_no_file_is_damage_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe"):
        assert read_overrides(path, BUILTIN).damage[0].message == "cannot be read: it is not a regular file"


@pytest.mark.scenario("providers: a bad entry spoils only itself")
def test_every_bad_entry_is_named_and_the_good_ones_apply(tmp_path: Path) -> None:
    bad: dict[str, Json] = {
        "claude": {"labell": "x"},
        "codex": {"enabled": "yes"},
        "gemini": {"command": []},
        "qwen": {"env": {"A=B": "x"}},
        "opencode": {"command": ["bin/opencode"]},
        "no-command": {"extends": "acp", "label": "x"},
        "no-extends": {"label": "x", "command": ["x"]},
        "native": {**AMP, "extends": "native"},
        "Upper": AMP,
        "nul": {**AMP, "command": ["a\0b"]},
        "text": "amp",
        "order": {**AMP, "order": 1.5},
    }

    found = registry(tmp_path, {**bad, "goose": {"enabled": False}, "amp-acp": AMP})

    assert {damage.id for damage in found.file.damage} == set(bad)
    assert set(found.providers) == {*BUILTIN, "amp-acp"}
    assert not found.providers["goose"].enabled
    assert found.providers["claude"] == load_builtin()["claude"]


def test_damage_names_fields_and_never_their_values() -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_override("claude", {"env": {"KEY": 123456}, "enabled": "secret-word"}, BUILTIN)

    assert "env.KEY" in str(refusal.value)
    assert "enabled" in str(refusal.value)
    assert "123456" not in str(refusal.value)
    assert "secret-word" not in str(refusal.value)


def test_an_unknown_key_beside_providers_is_reported_and_the_entries_apply(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(orjson.dumps({"$schema": "x", "provider": {}, "providers": {"goose": {"enabled": False}}}))

    found = load_registry(path, {})

    assert [damage.id for damage in found.file.damage] == [None]
    assert not found.providers["goose"].enabled


def test_saving_makes_the_folder_and_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.json"

    save_overrides(path, {"providers": {"amp-acp": AMP}}, None)

    assert path.stat().st_mode & 0o777 == 0o600
    assert read_overrides(path, BUILTIN).raw == {"amp-acp": AMP}
    assert list(path.parent.iterdir()) == [path]


def test_saving_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    write_overrides(real, {})
    link.symlink_to(real)

    save_overrides(link, {"providers": {"amp-acp": AMP}}, stamp_of(link))

    assert link.is_symlink()
    assert read_overrides(real, BUILTIN).raw == {"amp-acp": AMP}


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_overrides(path, {})
    seen = stamp_of(path)
    write_overrides(path, {"goose": {"enabled": False}})

    with pytest.raises(Conflict):
        save_overrides(path, {"providers": {}}, seen)

    assert read_overrides(path, BUILTIN).raw == {"goose": {"enabled": False}}


def test_what_json_cannot_hold_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CoderError):
        save_overrides(tmp_path / "file.json", {"providers": {"a": "\ud800"}}, None)

    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_no_damage(tmp_path: Path) -> None:
    assert read_overrides(tmp_path / "none.json", BUILTIN) == OverrideFile(tmp_path / "none.json")


def test_presence_is_told_without_starting_anything(tmp_path: Path) -> None:
    rows = presence_rows(load_builtin().values(), {"goose": "/opt/goose", sys.executable: sys.executable}.get)

    found = {provider.id: path for provider, path in rows}
    assert found == dict.fromkeys(BUILTIN) | {"goose": "/opt/goose", "demo": sys.executable}
