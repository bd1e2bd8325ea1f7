"""Commands over HTTP: the main job, and that a repeated command is carried out once."""

from pathlib import Path

import anyio
import orjson
import pytest

from coder.client import Client
from coder.errors import Conflict, IdempotencyMismatch, MergeConflict, UnsavedWork, WrongState
from coder.model.changes import ChangeStatus
from coder.protocol import ChosenChange, HunkLines, Prompt
from coder.store import idempotency
from coder.store.database import open_store
from coder.testing.harness import LiveHost, open_live_host
from coder.testing.repositories import make_repository
from tests.api.wire import JSON, Reply, good_headers, open_test_session, send_raw


@pytest.mark.scenario("api: The main job over HTTP")
async def test_a_prompt_changes_a_file_that_is_applied_and_reverted(tmp_path: Path, database_url: str):
    repository = tmp_path / "repo"
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, repository)
        task = await client.prompt(session.id, Prompt(agent="demo", input="write notes.md hello"))
        assert (await client.wait_for_task(task.id)).state == "completed"
        (change,) = (await client.changes(session.id, ChangeStatus.PENDING)).items
        detail = await client.change(change.id)
        assert (change.file_path, change.agent, "+hello" in detail.diff) == ("notes.md", "demo", True)
        with pytest.raises(UnsavedWork):
            await client.close_session(session.id)
        assert (await client.apply_change(change.id, reason="looks right")).status == "applied"
        assert (repository / "notes.md").read_text().strip() == "hello"
        with pytest.raises(WrongState):
            await client.apply_change(change.id)
        assert (await client.revert_change(change.id)).status == "reverted"
        assert not (repository / "notes.md").exists()
        await client.reject_changes(session.id)
        await client.close_session(session.id)
        assert (await client.sessions()).items == ()


async def test_a_conflicting_change_is_a_409_that_names_the_file(tmp_path: Path, database_url: str):
    repository = tmp_path / "repo"
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, repository)
        task = await client.prompt(session.id, Prompt(agent="demo", input="write README.md agent's words"))
        await client.wait_for_task(task.id)
        (repository / "README.md").write_text("a person's words\n")
        with pytest.raises(MergeConflict) as caught:
            await client.apply_changes(session.id)
        assert "README.md" in str(caught.value.fields)
        assert (repository / "README.md").read_text() == "a person's words\n"


@pytest.mark.scenario("api: The same key carries a command out once")
async def test_a_command_with_a_key_is_carried_out_once(tmp_path: Path, database_url: str):
    repository = make_repository(tmp_path / "repo")
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        project = await client.register_project(str(repository), key="p")
        first = await client.open_session(project.id, "one", key="s")
        again = await client.open_session(project.id, "one", key="s")
        assert again == first
        with pytest.raises(IdempotencyMismatch):
            await client.open_session(project.id, "two", key="s")
        assert len((await client.sessions()).items) == 1
        task = await client.prompt(first.id, Prompt(agent="demo", input="say hi"), key="t")
        same = await client.prompt(first.id, Prompt(agent="demo", input="say hi"), key="t")
        assert same.id == task.id
        with pytest.raises(IdempotencyMismatch):
            await client.prompt(first.id, Prompt(agent="demo", input="say ho"), key="t")


async def test_a_command_that_failed_may_be_tried_again_with_its_key(tmp_path: Path, database_url: str):
    folder = tmp_path / "later"
    async with open_live_host(tmp_path / "home", database_url) as live:
        body = orjson.dumps({"repo_path": str(folder)})
        assert (await _post(live, "/api/projects", body, "k")).status == 422
        make_repository(folder)
        assert (await _post(live, "/api/projects", body, "k")).status == 201


@pytest.mark.scenario("api: A key that a dead host left is free again")
async def test_a_command_that_a_dead_host_never_answered_may_be_sent_again(tmp_path: Path, database_url: str):
    body = orjson.dumps({"repo_path": str(make_repository(tmp_path / "repo"))})
    async with open_store(database_url, run_id="dead") as store, store.transaction() as connection:
        await idempotency.reserve(connection, "POST /api/projects", "k", "hash", "dead")
    async with open_live_host(tmp_path / "home", database_url) as live:
        assert (await _post(live, "/api/projects", body, "k")).status == 201


async def test_the_same_command_sent_by_many_at_once_is_carried_out_once(tmp_path: Path, database_url: str):
    repository = make_repository(tmp_path / "repo")
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        project = await client.register_project(str(repository))
        replies: list[Reply] = []

        async def send() -> None:
            body = orjson.dumps({"project_id": project.id})
            replies.append(await _post(live, "/api/sessions", body, "k"))

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(send)
        assert {reply.status for reply in replies} <= {201, 409}
        assert len((await client.sessions()).items) == 1


async def test_a_repeated_command_without_an_answer_body_is_answered_alike(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        for _ in range(2):
            headers = [*good_headers(live), ("Idempotency-Key", "k")]
            assert (await send_raw(live.url, "DELETE", f"/api/sessions/{session.id}", headers)).status == 204


@pytest.mark.parametrize("key", ["", "x" * 201, "ü", "a b"])
async def test_a_key_that_is_no_key_is_refused(key: str, tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live:
        assert (await _post(live, "/api/projects", b'{"repo_path": "/x"}', key)).status == 422


@pytest.mark.scenario("api: Lists come in pages")
async def test_a_list_is_read_page_by_page_without_gap_or_repeat(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        for number in range(5):
            await client.register_project(str(make_repository(tmp_path / f"repo{number}")))
        names: list[str] = []
        cursor = None
        while True:
            page = await client.projects(cursor, limit=2)
            assert len(page.items) <= 2
            names += [project.name for project in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert sorted(names) == [f"repo{number}" for number in range(5)]


async def test_an_agent_is_started_early_and_closed(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        assert (await client.warm(session.id, "demo")).status == "idle"
        assert (await client.health()).pool.warm == 1
        await client.close_agent(session.id, "demo")
        assert (await client.health()).pool.size == 0


@pytest.mark.scenario("api: What is run cannot be changed over HTTP")
async def test_toggles_are_taken_and_executable_fields_refused(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        config = await client.patch_providers({"goose": {"enabled": False}}, merge_fields=True)
        assert config.providers == {"goose": {"enabled": False}}
        body = b'{"providers": {"evil": {"extends": "acp", "label": "x", "command": ["/bin/sh"]}}}'
        reply = await send_raw(live.url, "PATCH", "/api/providers/config", [*good_headers(live), JSON], body)
        assert reply.status == 403
        assert "evil" not in (await client.provider_config()).providers


async def test_hunks_lines_and_chosen_changes_are_decided_over_http(tmp_path: Path, database_url: str):
    repository = tmp_path / "repo"
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, repository)
        task = await client.prompt(
            session.id, Prompt(agent="demo", input="write a.md one\\ntwo; write b.md b; write c.md c")
        )
        await client.wait_for_task(task.id)
        pending = {change.file_path: change for change in (await client.changes(session.id)).items}
        (hunk,) = (await client.change(pending["a.md"].id)).hunks
        applied = await client.apply_change(pending["a.md"].id, hunks=(HunkLines(id=hunk.id, lines=(0,)),))
        assert (applied.split_from, (repository / "a.md").read_text()) == (pending["a.md"].id, "one\n")
        with pytest.raises(Conflict) as stale:
            await client.apply_change(pending["a.md"].id, hunks=(hunk.id,))
        assert (stale.value.stable_code, "hunks" in stale.value.fields) == ("stale_hunk", True)
        (chosen,) = await client.apply_changes(session.id, changes=[ChosenChange(id=pending["b.md"].id)])
        assert chosen.file_path == "b.md"
        assert not (repository / "c.md").exists()
        rejected = await client.reject_changes(session.id, reason="enough")
        assert {change.file_path for change in rejected} == {"a.md", "c.md"}
        assert [decision.verb for decision in await client.decisions(session.id)] == ["reject", "apply", "apply"]


async def test_checkpoints_are_shown_and_restored_over_http(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        for text in ("write a.md one", "write a.md two"):
            task = await client.prompt(session.id, Prompt(agent="demo", input=text))
            await client.wait_for_task(task.id)
        _, first, opened = await client.checkpoints(session.id)
        assert (opened.kind, first.agent) == ("opened", "demo")
        detail = await client.checkpoint(first.id)
        assert [(each.file_path, each.operation) for each in detail.differences] == [("a.md", "edit")]
        saved = await client.restore_checkpoint(first.id, reason="the first was better")
        assert (await client.checkpoint(first.id)).differences == ()
        await client.restore_checkpoint(saved.id)
        (change,) = (await client.changes(session.id, ChangeStatus.PENDING)).items
        assert "+two" in (await client.change(change.id)).diff


async def test_a_project_with_sessions_is_not_forgotten(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        with pytest.raises(Conflict):
            await client.remove_project(session.project_id)
        await client.close_session(session.id)
        await client.remove_project(session.project_id)
        assert await _names(client) == []


async def _names(client: Client) -> list[str]:
    return [project.name for project in (await client.projects()).items]


async def _post(live: LiveHost, path: str, body: bytes, key: str | None = None) -> Reply:
    headers = [*good_headers(live), JSON]
    if key is not None:
        headers.append(("Idempotency-Key", key))
    return await send_raw(live.url, "POST", path, headers, body)
