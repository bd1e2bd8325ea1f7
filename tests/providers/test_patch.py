"""Changing the override file through the door: what is written, what is refused, what is never lost."""

import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from coder.errors import CoderError, Conflict, Forbidden, InvalidInput, NotFound
from coder.model.providers import ProviderConfig
from coder.model.values import Json
from coder.protocol import ProviderPatch
from coder.providers.overrides import read_overrides, save_overrides
from coder.providers.providers import MASK, Providers
from tests.providers.room import install, open_room, read_entries, write_overrides

AMP: dict[str, Json] = {"extends": "acp", "label": "Amp", "command": ["amp-acp"]}


async def patch(
    providers: Providers, entries: Mapping[str, dict[str, Json] | None], *, merge: bool = False, code: bool = True
) -> ProviderConfig:
    return await providers.patch(ProviderPatch(providers=dict(entries)), merge_fields=merge, may_write_code=code)


def file_in(folder: Path, entries: dict[str, Json]) -> Path:
    path = folder / "data" / "coder-providers.json"
    write_overrides(path, entries)
    return path


@pytest.mark.scenario("providers: a patch replaces an entry whole")
async def test_a_patch_replaces_named_entries_and_leaves_the_others(tmp_path: Path, database_url: str) -> None:
    path = file_in(
        tmp_path, {"claude": {"label": "Mine", "order": 3}, "goose": {"enabled": False}, "qwen": {"order": 1}}
    )
    async with open_room(tmp_path, database_url) as room:
        config = await patch(room.providers, {"claude": {"order": 4}, "qwen": None, "amp-acp": AMP, "gemini": None})

        assert config.providers == {"claude": {"order": 4}, "goose": {"enabled": False}, "amp-acp": AMP}
        assert read_entries(path) == config.providers
        assert room.providers.get("claude").label == "Claude Code"
        assert room.providers.get("amp-acp").command == ("amp-acp",)


@pytest.mark.scenario("providers: a merging patch changes single fields")
async def test_a_merging_patch_keeps_the_other_fields(tmp_path: Path, database_url: str) -> None:
    path = file_in(tmp_path, {"amp-acp": {**AMP, "description": "old", "additionalModels": [{"id": "a"}]}})
    async with open_room(tmp_path, database_url) as room:
        change: dict[str, Json] = {"enabled": False, "description": None, "additional_models": [{"id": "b"}]}

        await patch(room.providers, {"amp-acp": change}, merge=True, code=False)

        assert read_entries(path) == {"amp-acp": {**AMP, "enabled": False, "additional_models": [{"id": "b"}]}}
        assert not room.providers.get("amp-acp").enabled


@pytest.mark.scenario("providers: an unusable result is refused")
@pytest.mark.parametrize(
    ("entries", "merge", "named"),
    [
        ({"amp-acp": {"enabled": False}}, False, "command"),
        ({"amp-acp": {"label": None}}, True, "label"),
        ({"claude": {"labell": "x"}}, False, "labell"),
        ({"claude": {"enabled": 1}}, True, "enabled"),
        ({"claude": {"label": "\ud800"}}, False, "label"),
        ({"claude": {"env": {"TOKEN": MASK}}}, False, "TOKEN"),
        ({"Claude": {"order": 1}}, False, "lower-case"),
        ({"goose": {"order": 1}, "new": {"label": "x"}}, False, "command"),
    ],
)
async def test_an_unusable_result_is_refused_whole(
    tmp_path: Path, database_url: str, entries: dict[str, dict[str, Json] | None], merge: bool, named: str
) -> None:
    path = file_in(tmp_path, {"amp-acp": AMP})
    before = path.read_bytes()
    async with open_room(tmp_path, database_url) as room:
        with pytest.raises(InvalidInput, match=named):
            await patch(room.providers, entries, merge=merge)

        assert path.read_bytes() == before
        assert room.providers.get("amp-acp").label == "Amp"


@pytest.mark.scenario("providers: a damaged file is never overwritten")
async def test_a_patch_of_a_damaged_file_is_a_conflict(tmp_path: Path, database_url: str) -> None:
    path = file_in(tmp_path, {})
    path.write_text('{"providers": {"claude": ')
    async with open_room(tmp_path, database_url) as room:
        with pytest.raises(Conflict, match="damaged") as refusal:
            await patch(room.providers, {"claude": {"enabled": False}})

        assert refusal.value.stable_code == "providers_file_damaged"
        assert path.read_text() == '{"providers": {"claude": '
        assert [damage.id for damage in (await room.providers.config()).damage] == [None]


@pytest.mark.scenario("providers: bad entries survive a patch")
async def test_a_patch_keeps_bad_entries_as_they_were_and_can_repair_one(tmp_path: Path, database_url: str) -> None:
    path = file_in(tmp_path, {"claude": {"labell": "x"}, "qwen": "text", "goose": {"enabled": False}})
    async with open_room(tmp_path, database_url) as room:
        await patch(room.providers, {"goose": {"enabled": True}})
        assert read_entries(path) == {"claude": {"labell": "x"}, "qwen": "text", "goose": {"enabled": True}}

        config = await patch(room.providers, {"claude": {"label": "x"}, "qwen": None})

        assert config.damage == ()
        assert config.providers == {"claude": {"label": "x"}, "goose": {"enabled": True}}


@pytest.mark.scenario("providers: changing what is run needs its own right")
@pytest.mark.parametrize(
    ("entries", "merge"),
    [
        ({"claude": {"command": ["sh", "-c", "x"]}}, False),
        ({"claude": {"env": {"ANTHROPIC_BASE_URL": "http://elsewhere"}}}, True),
        ({"claude": {"version_args": ["-c", "x"]}}, True),
        ({"claude": {"login_command": ["sh"]}}, True),
        ({"claude": {"offer_terminal": True}}, True),
        ({"amp-acp": {**AMP, "command": ["other"]}}, False),
        ({"amp-acp": {**AMP, "env": {}}}, False),
        ({"amp-acp": {"env": None}}, True),
        ({"amp-acp": None}, False),
        ({"new": AMP}, False),
    ],
)
async def test_a_caller_who_may_not_write_code_cannot(
    tmp_path: Path, database_url: str, entries: dict[str, dict[str, Json] | None], merge: bool
) -> None:
    path = file_in(tmp_path, {"amp-acp": {**AMP, "env": {"KEY": "secret"}}})
    before = path.read_bytes()
    async with open_room(tmp_path, database_url) as room:
        with pytest.raises(Forbidden):
            await patch(room.providers, entries, merge=merge, code=False)

        assert path.read_bytes() == before


@pytest.mark.scenario("providers: changing what is run needs its own right")
async def test_such_a_caller_may_change_all_else_and_send_back_what_it_read(tmp_path: Path, database_url: str) -> None:
    path = file_in(tmp_path, {"amp-acp": {**AMP, "env": {"KEY": "secret"}}, "goose": {"order": 1}})
    async with open_room(tmp_path, database_url) as room:
        shown = (await room.providers.config()).providers["amp-acp"]
        assert isinstance(shown, dict)

        await patch(room.providers, {"amp-acp": {**shown, "enabled": False}, "goose": None}, code=False)

        assert read_entries(path) == {"amp-acp": {**AMP, "env": {"KEY": "secret"}, "enabled": False}}


@pytest.mark.scenario("providers: values of variables are not shown")
async def test_the_config_masks_values_and_a_mask_stands_for_the_stored_value(
    tmp_path: Path, database_url: str
) -> None:
    path = file_in(tmp_path, {"claude": {"env": {"KEY": "secret", "OTHER": "plain"}}, "qwen": {"env": ["KEY=secret"]}})
    async with open_room(tmp_path, database_url) as room:
        shown = await room.providers.config()
        assert shown.providers["claude"] == {"env": {"KEY": MASK, "OTHER": MASK}}
        assert "secret" not in shown.model_dump_json()

        await patch(room.providers, {"claude": {"env": {"KEY": MASK, "NEW": "new"}}})

        assert read_entries(path)["claude"] == {"env": {"KEY": "secret", "NEW": "new"}}
        assert room.providers.get("claude").env == {"KEY": "secret", "NEW": "new"}


@pytest.mark.scenario("providers: patches at the same time are all kept")
async def test_patches_at_once_are_all_kept(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        builtin = len(room.providers.all())
        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(patch, room.providers, {f"agent-{number}": AMP})

        assert len(read_entries(room.path)) == 30
        assert len(room.providers.all()) == builtin + 30


@pytest.mark.scenario("faults: A file that is killed in the middle of a save")
async def test_a_writer_killed_in_the_middle_leaves_the_file_as_it_was_or_as_it_shall_be(tmp_path: Path) -> None:
    path = tmp_path / "coder-providers.json"
    entries: dict[str, Json] = {f"agent-{number}": AMP for number in range(300)}
    save_overrides(path, {"providers": entries}, None)
    for number in range(5):
        writer = await anyio.open_process([sys.executable, "-c", WRITER, str(path)])
        assert writer.stdout is not None
        for _ in range(number + 1):
            await writer.stdout.receive()
        writer.kill()
        await writer.wait()
        await writer.aclose()
        found = read_overrides(path, ())
        assert (found.damage, len(found.overrides)) == ((), 300)


WRITER = """
import sys
from pathlib import Path
from coder.providers.overrides import read_overrides, save_overrides
path = Path(sys.argv[1])
for number in range(10**6):
    file = read_overrides(path, ())
    assert file.document is not None
    for entry in file.raw.values():
        entry["label"] = f"Label {number}"
    save_overrides(path, file.document, file.stamp)
    print(number, flush=True)
"""


@pytest.mark.scenario("providers: a failed save changes nothing")
async def test_a_failed_save_is_told_and_changes_nothing(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url, path=Path("/proc/coder/providers.json")) as room:
        with pytest.raises(CoderError) as failure:
            await patch(room.providers, {"goose": {"enabled": False}})

        assert failure.value.stable_code == "save_failed"
        assert room.providers.get("goose").enabled


@pytest.mark.scenario("providers: a change by hand is noticed")
async def test_an_edit_by_hand_is_followed_and_patched_upon(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "amp-acp", "1.0.0")
    async with open_room(tmp_path, database_url) as room:
        await room.providers.snapshot()
        write_overrides(room.path, {"amp-acp": AMP})
        assert (await room.row("amp-acp")).installed

        write_overrides(room.path, {"amp-acp": {**AMP, "label": "By hand"}})
        await patch(room.providers, {"goose": {"enabled": False}})

        assert read_entries(room.path) == {"amp-acp": {**AMP, "label": "By hand"}, "goose": {"enabled": False}}
        room.path.unlink()
        await room.providers.snapshot()
        with pytest.raises(NotFound):
            room.providers.get("amp-acp")
