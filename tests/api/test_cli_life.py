"""Commands about the life of a host: a second one, backup, restore, reset."""

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from coder.backup import write_backup
from coder.errors import InvalidInput
from coder.model.tasks import TaskState
from coder.protocol import Prompt
from coder.restore import restore_backup
from coder.testing.harness import open_live_host
from coder.testing.host_process import open_host_process
from coder.testing.repositories import git, make_repository
from coder.testing.rooms import room_settings
from tests.api.test_cli import Ended, coder


async def at_home(home: Path, *arguments: str, database_url: str | None = None, text: bytes = b"") -> Ended:
    """A command on a home and its database, with the override file inside of it."""
    more: Mapping[str, str] = {"CODER_PROVIDERS_PATH": str(home / "coder-providers.json")}
    if database_url is not None:
        more = {**more, "CODER_DATABASE_URL": database_url}
    return await coder("--home", str(home), *arguments, text=text, more=more)


@pytest.mark.scenario("life: A second host on a home")
async def test_a_second_host_on_a_home_is_refused_by_the_first_ones_process(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    async with open_live_host(home, database_url) as live, live.client() as client:
        nowhere = "postgresql://nobody@127.0.0.1:1/none"
        refused = await coder("--home", str(home), "up", "--port", "auto", "--database-url", nowhere)
        assert (refused.code, refused.out) == (1, "")
        assert f"another host (pid {os.getpid()}) uses {home}" in refused.err
        assert "(home_in_use)" in refused.err
        assert (await client.health()).status == "ok"
    async with open_live_host(home, database_url) as live, live.client() as client:
        assert (await client.health()).status == "ok"


@pytest.mark.scenario("life: A backup of a running host is restored elsewhere")
@pytest.mark.scenario("life: Nothing is written over")
async def test_a_backup_of_a_running_host_goes_on_elsewhere(tmp_path: Path, database_url: str) -> None:
    home, other, file = tmp_path / "home", tmp_path / "other machine", tmp_path / "coder.backup"
    repo, clone = make_repository(tmp_path / "repo"), tmp_path / "clone"
    async with open_live_host(home, database_url) as live, live.client() as client:
        (home / "config.toml").write_text("max_queue = 7\n")
        (home / "agents" / "prj").mkdir(parents=True)
        (home / "agents" / "prj" / "notes.json").write_text("{}")
        project = await client.register_project(str(repo))
        kept, busy = [await client.open_session(project.id, name=name) for name in ("kept", "busy")]
        await client.wait_for_task((await client.prompt(kept.id, Prompt(agent="demo", input="write new.txt hi"))).id)
        Path(kept.worktree_path or "", "by-hand.txt").write_text("mine\n")
        running = await client.prompt(busy.id, Prompt(agent="demo", input="write half.txt x; say begun; hang"))
        with anyio.fail_after(30):
            while not any(record.event.type == "text" for record in await client.records(busy.id)):
                await anyio.sleep(0.05)
        records = await client.records(kept.id)
        done = await at_home(home, "backup", str(file), database_url=database_url)
        assert (done.code, f"a turn runs in {busy.id}" in done.err) == (0, True), done
        assert "2 sessions" in done.out
        again = await at_home(home, "backup", str(file), database_url=database_url)
        assert (again.code, "(file_exists)" in again.err) == (1, True), again
        refused = await at_home(home, "restore", str(file), database_url=database_url)
        assert (refused.code, "(home_in_use)" in refused.err) == (1, True), refused
        assert file.stat().st_mode & 0o777 == 0o600
        with tarfile.open(file) as archive:
            assert "token" not in archive.getnames()
            files = [archive.extractfile(member) for member in archive if member.isfile()]
            assert not any(live.token.encode() in one.read() for one in files if one)
        await client.cancel_task(running.id)
        await client.wait_for_task(running.id)
    over = await at_home(home, "restore", str(file), database_url=database_url)
    assert (over.code, "(not_empty)" in over.err) == (1, True), over
    git(tmp_path, "clone", "-q", str(repo), str(clone))
    git(clone, "config", "user.name", "Test")

    unfit = await at_home(other, "restore", str(file))
    assert (unfit.code, "(repository_missing)" in unfit.err, "is checked out in" in unfit.err) == (1, True, True), unfit
    assert [path.name for path in sorted(other.iterdir())] == ["database", "lock"]
    done = await at_home(other, "restore", str(file), "--repo", f"{repo}={clone}")
    assert done.code == 0, done
    assert (other / "config.toml").read_text() == "max_queue = 7\n"
    assert (other / "config.toml").stat().st_mode & 0o777 == 0o600
    assert (other / "agents" / "prj" / "notes.json").exists()

    async with open_host_process(other) as host, host.client() as client:
        assert (await client.project(project.id)).repo_path == str(clone)
        assert (await client.records(kept.id))[: len(records)] == records
        worktree = Path((await client.session(kept.id)).worktree_path or "")
        assert worktree.is_relative_to(other)
        assert ((worktree / "new.txt").read_text(), (worktree / "by-hand.txt").read_text()) == ("hi\n", "mine\n")
        ended = await client.task(running.id)
        assert (ended.state, ended.error and ended.error.code) == (TaskState.FAILED, "interrupted")
        assert [change.file_path for change in (await client.changes(busy.id)).items] == ["half.txt"]
        task = await client.prompt(kept.id, Prompt(agent="demo", input="write more.txt x"))
        assert (await client.wait_for_task(task.id)).state is TaskState.COMPLETED
        found = {change.file_path: change for change in (await client.changes(kept.id)).items}
        assert {name: change.agent for name, change in found.items()} == {
            "new.txt": "demo",
            "by-hand.txt": "user",
            "more.txt": "demo",
        }
        await client.apply_change(found["new.txt"].id)
        assert (clone / "new.txt").read_text() == "hi\n"
        beside = await at_home(other, "backup", str(tmp_path / "second.backup"))
        assert (beside.code, "2 sessions" in beside.out) == (0, True), beside


@pytest.mark.scenario("life: Nothing is written over")
async def test_what_is_no_whole_backup_is_refused(tmp_path: Path, database_url: str) -> None:
    settings = room_settings(tmp_path / "home", database_url)
    settings.home.mkdir()
    await write_backup(settings, file := tmp_path / "whole")
    whole = file.read_bytes()
    middle = len(whole) // 2
    for content in (
        b"",
        b"no backup",
        whole[:middle],
        whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
    ):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(InvalidInput) as caught:
            await restore_backup(settings, tmp_path / "broken", {})
        assert caught.value.stable_code == "backup_damaged"
    assert [path.name for path in settings.home.iterdir()] == ["lock"]
    await restore_backup(settings, file, {})


@pytest.mark.scenario("life: Back to empty with the work kept")
async def test_a_reset_keeps_repositories_and_branches_with_work(tmp_path: Path, database_url: str) -> None:
    home, repo = tmp_path / "home", make_repository(tmp_path / "repo")
    async with open_live_host(home, database_url) as live, live.client() as client:
        project = await client.register_project(str(repo))
        worked, idle = [await client.open_session(project.id) for _ in range(2)]
        await client.wait_for_task((await client.prompt(worked.id, Prompt(agent="demo", input="write new.txt hi"))).id)
        refused = await at_home(home, "reset", "--yes", database_url=database_url)
        assert (refused.code, "(home_in_use)" in refused.err) == (1, True), refused
    token = (home / "token").read_text()
    unsure = await at_home(home, "reset", "--keep-repos", database_url=database_url, text=b"n\n")
    assert (unsure.code, "nothing was removed" in unsure.err) == (3, True), unsure
    assert f"{worked.branch} of {repo}" in unsure.out
    assert "1 files not committed; it stays with them committed" in unsure.out
    assert Path(worked.worktree_path or "", "new.txt").exists()
    done = await at_home(home, "reset", "--keep-repos", "--yes", database_url=database_url)
    assert done.code == 0, done
    assert sorted(path.name for path in home.iterdir()) == ["lock", "token"]
    assert git(repo, "show", f"{worked.branch}:new.txt") == "hi"
    assert git(repo, "branch", "--list", str(idle.branch)) == ""
    assert len(git(repo, "worktree", "list").splitlines()) == 1
    async with open_live_host(home, database_url) as live, live.client() as client:
        assert (await client.projects()).items == ()
        assert live.token == token.strip()
        session = await client.open_session((await client.register_project(str(repo))).id)
        assert session.last_seq > 0
    everything = await at_home(home, "reset", "--yes", database_url=database_url)
    assert (everything.code, "it is removed" in everything.out) == (0, True), everything
    assert git(repo, "branch", "--list", "coder/*").split() == [worked.branch]
