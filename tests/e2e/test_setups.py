"""What a repository asks for in a new worktree: files, ports, commands; and a person's word before any of it runs."""

import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from coder.errors import Conflict, NotFound, WrongState
from coder.host import Host, open_host
from coder.model.sessions import Project
from coder.model.setups import Setup, SetupState
from coder.model.tasks import TaskState
from coder.protocol import NewProject, Prompt
from coder.testing.host_process import open_host_process
from coder.testing.repositories import commit_files, git, make_repository
from coder.testing.rooms import Room, open_room, room_settings

FILE = ".coder/worktree.toml"
IGNORES = ".env\n*.local\nsecret/\n.env.*\n"


@dataclass
class Place:
    """An open host with a project; sessions are opened by the test."""

    host: Host
    project: Project
    repository: Path

    async def open(self, base_ref: str | None = None) -> Room:
        session = await self.host.sessions.open(self.project.id, None, base_ref)
        return Room(self.host, self.repository, session)

    async def trust(self, room: Room) -> None:
        setup = await self.host.setups.get(room.session.id)
        assert setup.digest is not None
        await self.host.setups.trust(self.project.id, setup.digest, "test")


@asynccontextmanager
async def open_place(folder: Path, database_url: str, toml: str | None, **files: str) -> AsyncGenerator[Place]:
    async with open_host(room_settings(folder / "home", database_url), "token") as host:
        repository = make_setup_repository(folder / "repository", toml, files)
        project = await host.projects.register(NewProject(repo_path=str(repository)))
        yield Place(host, project, repository)


def make_setup_repository(folder: Path, toml: str | None, files: Mapping[str, str] | None = None) -> Path:
    written = {"README.md": "# Sample\n", ".gitignore": IGNORES, **(files or {})}
    return make_repository(folder, written if toml is None else {**written, FILE: toml})


async def until(room: Room, *states: SetupState) -> Setup:
    """The setup once it is in one of these states."""
    await room.seen(lambda record: record.event.type == "setup_updated" and record.event.setup.state in states)
    with anyio.fail_after(20):
        while (setup := await room.host.setups.get(room.session.id)).state not in states:
            await anyio.sleep(0.02)
    return setup


async def ended(room: Room) -> Setup:
    return await until(room, SetupState.DONE, SetupState.FAILED, SetupState.SKIPPED)


# Reading the file


@pytest.mark.scenario("worktree-setup: A repository that asks for nothing")
async def test_without_a_file_there_is_no_setup_and_prompts_go_at_once(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        assert (await room.host.setups.get(room.session.id)).state is SetupState.NONE
        assert (await room.prompt("say hi")).state is TaskState.COMPLETED
        assert "setup_updated" not in {record.event.type for record in await room.records()}
        with pytest.raises(WrongState):
            await room.host.setups.run(room.session.id)
        with pytest.raises(NotFound):
            await room.host.setups.get("ses_nobody")


@pytest.mark.scenario("worktree-setup: A broken file")
@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("setup = [", "Invalid value"),
        ("[setup]\ncommand = 5\n", "setup.command"),
        ("surprise = true\n", "surprise"),
        ('ports = ["LD_PRELOAD"]\n', "PORT"),
        ('[env]\nCODER_HOME = "/x"\n', "CODER_HOME"),
        ("[setup]\ncommand = 'x'\ntimeout = 1e9\n", "timeout"),
        ("# " + "x" * 70_000, "over"),
    ],
)
async def test_a_broken_file_is_told_in_words_and_holds_nothing(
    tmp_path: Path, database_url: str, toml: str, words: str
) -> None:
    async with open_place(tmp_path, database_url, toml) as place:
        room = await place.open()
        setup = await place.host.setups.get(room.session.id)
        assert (setup.state, setup.holds) == (SetupState.FAILED, False)
        assert setup.error is not None
        assert setup.error.code == "setup_file_invalid"
        assert words in setup.error.message
        with pytest.raises(Conflict) as caught:
            await place.host.setups.run(room.session.id)
        assert caught.value.stable_code == "setup_file_invalid"
        assert (await room.prompt("say hi")).state is TaskState.COMPLETED


@pytest.mark.scenario("worktree-setup: What runs is what the base commit says")
async def test_neither_checkout_nor_agent_can_change_what_runs(tmp_path: Path, database_url: str) -> None:
    toml = "[setup]\ncommand = 'echo from the commit > made.local'\n"
    async with open_place(tmp_path, database_url, toml) as place:
        (place.repository / FILE).write_text("[setup]\ncommand = 'echo from the checkout > made.local'\n")
        room = await place.open()
        (room.worktree / FILE).write_text("[setup]\ncommand = 'echo from the agent > made.local'\n")
        await place.trust(room)
        await ended(room)
        assert (room.worktree / "made.local").read_text() == "from the commit\n"
        await place.host.setups.run(room.session.id)
        await room.seen(
            lambda record: record.event.type == "setup_updated" and record.event.setup.state == "done",
            (await place.host.sessions.get(room.session.id)).last_seq,
        )
        assert (room.worktree / "made.local").read_text() == "from the commit\n"


# Trust


@pytest.mark.scenario("worktree-setup: A command waits for a person's word")
async def test_an_untrusted_command_does_not_run_and_the_prompt_waits_visibly(
    tmp_path: Path, database_url: str
) -> None:
    async with open_place(tmp_path, database_url, "[setup]\ncommand = ['touch', 'ran.local']\n") as place:
        room = await place.open()
        task = await room.submit("write answer.txt 1")
        setup = await place.host.setups.get(room.session.id)
        assert (setup.state, setup.holds) == (SetupState.UNTRUSTED, True)
        assert setup.recipe is not None
        assert setup.recipe.setup is not None
        assert setup.recipe.setup.command == ("touch", "ran.local")
        snapshot = await place.host.journal.snapshot(room.session.id)
        assert snapshot.setup is not None
        assert (snapshot.setup.state, snapshot.tasks[0].state) == (SetupState.UNTRUSTED, TaskState.PENDING)
        with pytest.raises(Conflict) as caught:
            await place.host.setups.run(room.session.id)
        assert (caught.value.stable_code, caught.value.fields["digest"]) == ("setup_not_trusted", setup.digest)
        with pytest.raises(Conflict) as caught:
            await place.host.dispatcher.warm(room.session.id, "demo")
        assert caught.value.stable_code == "setup_not_finished"
        assert not (room.worktree / "ran.local").exists()
        await place.trust(room)
        assert (await room.ended(task)).state is TaskState.COMPLETED
        assert (room.worktree / "ran.local").exists()
        order = [event.setup.state if event.type == "setup_updated" else event.type for event in await room.events()]
        assert order.index(SetupState.DONE) < order.index("turn_started")


@pytest.mark.scenario("worktree-setup: Trusted once")
async def test_a_trusted_file_runs_in_later_sessions_and_a_changed_one_does_not(
    tmp_path: Path, database_url: str
) -> None:
    async with open_place(tmp_path, database_url, "[setup]\ncommand = 'echo one'\n") as place:
        first = await place.open()
        await place.trust(first)
        assert (await ended(first)).state is SetupState.DONE
        second = await place.open()
        assert (await ended(second)).log == "one\n"
        commit_files(place.repository, {FILE: "[setup]\ncommand = 'echo two'\n"})
        third = await place.open()
        assert (await place.host.setups.get(third.session.id)).state is SetupState.UNTRUSTED
        with pytest.raises(NotFound):
            await place.host.setups.trust(place.project.id, "0" * 64, "test")
        with pytest.raises(NotFound):
            await place.host.setups.trust("prj_nobody", "0" * 64, "test")


@pytest.mark.scenario("worktree-setup: Skipped")
async def test_a_skipped_setup_lets_prompts_go_and_gives_agents_no_untrusted_variable(
    tmp_path: Path, database_url: str
) -> None:
    toml = "ports = ['PORT']\n[env]\nGREETING = 'hello'\n[setup]\ncommand = 'touch ran.local'\n"
    async with open_place(tmp_path, database_url, toml) as place:
        room = await place.open()
        task = await room.submit("say hi")
        assert (await place.host.setups.skip(room.session.id)).state is SetupState.SKIPPED
        assert (await room.ended(task)).state is TaskState.COMPLETED
        assert set(await place.host.setups.environment(room.session.id)) == {"PORT"}
        assert not (room.worktree / "ran.local").exists()
        with pytest.raises(WrongState):
            await place.host.setups.skip(room.session.id)


# Running


@pytest.mark.scenario("worktree-setup: A failed command holds prompts until somebody says so")
async def test_a_failing_command_is_told_with_status_and_log_and_can_run_again(
    tmp_path: Path, database_url: str
) -> None:
    toml = "[setup]\ncommand = 'echo to out; echo to err >&2; test -e mended.local || exit 3'\n"
    async with open_place(tmp_path, database_url, toml) as place:
        room = await place.open()
        task = await room.submit("say hi")
        await place.trust(room)
        setup = await ended(room)
        assert (setup.state, setup.exit_status, setup.holds) == (SetupState.FAILED, 3, True)
        assert setup.error is not None
        assert setup.error.code == "setup_failed"
        assert setup.log == "to out\nto err\n"
        assert (await place.host.dispatcher.get(task.id)).state is TaskState.PENDING
        (room.worktree / "mended.local").touch()
        await place.host.setups.run(room.session.id)
        assert (await room.ended(task)).state is TaskState.COMPLETED


@pytest.mark.scenario("worktree-setup: The deadline")
async def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path, database_url: str) -> None:
    toml = "[setup]\ncommand = 'sleep 300 & echo $! > child.local; echo begun; sleep 300'\ntimeout = 1\n"
    async with open_place(tmp_path, database_url, toml) as place:
        room = await place.open()
        await place.trust(room)
        setup = await ended(room)
        assert setup.state is SetupState.FAILED
        assert setup.error is not None
        assert setup.error.code == "setup_timeout"
        assert setup.log == "begun\n"
        assert not alive(int((room.worktree / "child.local").read_text()))


@pytest.mark.scenario("worktree-setup: Skipped while it runs")
async def test_skipping_a_running_command_ends_it(tmp_path: Path, database_url: str) -> None:
    async with open_place(tmp_path, database_url, "[setup]\ncommand = 'echo $$ > pid.local; sleep 300'\n") as place:
        room = await place.open()
        task = await room.submit("say hi")
        await place.trust(room)
        pid = int(await text_of(room.worktree / "pid.local"))
        with pytest.raises(WrongState):
            await place.host.setups.run(room.session.id)
        assert (await place.host.setups.skip(room.session.id)).state is SetupState.SKIPPED
        assert not alive(pid)
        assert (await room.ended(task)).state is TaskState.COMPLETED


@pytest.mark.scenario("worktree-setup: Not while an agent works")
async def test_a_setup_is_not_run_again_while_a_turn_runs(tmp_path: Path, database_url: str) -> None:
    async with open_place(tmp_path, database_url, "[setup]\ncommand = 'true'\n") as place:
        room = await place.open()
        await place.trust(room)
        await ended(room)
        task = await room.submit("say begun; hang")
        await room.saw("text")
        with pytest.raises(Conflict) as caught:
            await place.host.setups.run(room.session.id)
        assert caught.value.stable_code == "turn_running"
        await place.host.dispatcher.cancel(task.id)
        await room.ended(task)


@pytest.mark.scenario("worktree-setup: What a command finds")
async def test_a_command_runs_in_the_worktree_with_an_allow_listed_environment(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SECRET", "x")
    toml = """
        ports = ["PORT", "API_PORT"]
        [env]
        API_URL = "http://localhost:${API_PORT}/$x"
        [setup]
        command = ["./list.sh", "two words"]
    """
    script = '#!/bin/sh\npwd\necho "$1|$PORT|$API_PORT|$API_URL|$SOME_SECRET|$CODER_CHECKOUT"\n'
    async with open_place(tmp_path, database_url, toml, **{"list.sh": script}) as place:
        git(place.repository, "update-index", "--chmod=+x", "list.sh")
        git(place.repository, "commit", "-qm", "Make it a program")
        room = await place.open()
        await place.trust(room)
        setup = await ended(room)
        port, api = setup.ports["PORT"], setup.ports["API_PORT"]
        said = f"two words|{port}|{api}|http://localhost:{api}/$x||{place.repository}"
        assert setup.log.splitlines() == [str(room.worktree), said]
        task = await room.prompt("echoenv API_URL")
        assert "API_URL is set" in await room.text_of(task)
        variables = await place.host.setups.environment(room.session.id)
        assert variables == {"PORT": str(port), "API_PORT": str(api), "API_URL": f"http://localhost:{api}/$x"}


@pytest.mark.scenario("worktree-setup: A killed host")
async def test_after_sigkill_the_setup_is_interrupted_and_can_run_again(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    flags = ("--database-url", database_url)
    toml = "ports = ['PORT']\n[setup]\ncommand = 'echo $$ > pid.local; test -e again.local || sleep 300'\n"
    repository = make_setup_repository(tmp_path / "repository", toml)
    async with open_host_process(home, *flags) as host, host.client() as client:
        project = await client.register_project(str(repository))
        session = await client.open_session(project.id)
        task = await client.prompt(session.id, Prompt(agent="demo", input="say hi"))
        found = await client.setup(session.id)
        await client.trust_setup(project.id, str(found.digest))
        worktree = Path(str(session.worktree_path))
        pid = int(await text_of(worktree / "pid.local"))
        await host.end(signal.SIGKILL)
    async with open_host_process(home, *flags) as host, host.client() as client:
        setup = await client.setup(session.id)
        assert (setup.state, setup.holds, setup.ports) == (SetupState.FAILED, True, found.ports)
        assert setup.error is not None
        assert setup.error.code == "interrupted"
        assert not alive(pid)
        assert (await client.task(task.id)).state is TaskState.PENDING
        (worktree / "again.local").touch()
        await client.run_setup(session.id)
        assert (await client.wait_for_task(task.id)).state is TaskState.COMPLETED


@pytest.mark.scenario("worktree-setup: Teardown")
async def test_a_teardown_runs_at_the_end_and_its_failure_stops_nothing(tmp_path: Path, database_url: str) -> None:
    out = tmp_path / "out.txt"
    toml = f"[teardown]\ncommand = 'echo $PWD >> {out}; exit 1'\n"
    async with open_place(tmp_path, database_url, toml) as place:
        untrusted = await place.open()
        await place.host.sessions.close(untrusted.session.id, force=True)
        assert not out.exists()
        room = await place.open()
        await place.trust(room)
        await ended(room)
        await place.host.sessions.close(room.session.id, force=True)
        assert out.read_text() == f"{room.worktree}\n"
        assert not room.worktree.exists()
        with pytest.raises(NotFound):
            await place.host.sessions.get(room.session.id)


@pytest.mark.scenario("worktree-setup: A teardown that hangs")
async def test_a_teardown_is_bounded_and_closing_ends_a_running_setup(tmp_path: Path, database_url: str) -> None:
    toml = "[setup]\ncommand = 'echo $$ > pid.local; sleep 300'\n[teardown]\ncommand = 'sleep 300'\ntimeout = 0.5\n"
    async with open_place(tmp_path, database_url, toml) as place:
        room = await place.open()
        await place.trust(room)
        pid = int(await text_of(room.worktree / "pid.local"))
        with anyio.fail_after(20):
            await place.host.sessions.close(room.session.id, force=True)
        assert not alive(pid)
        assert not room.worktree.exists()


# Ports


@pytest.mark.scenario("worktree-setup: A port of its own")
async def test_no_two_sessions_have_the_same_port_and_it_is_given_back(tmp_path: Path, database_url: str) -> None:
    async with open_place(tmp_path, database_url, 'ports = ["PORT", "WEB_PORT"]\n') as place:
        rooms = [await place.open() for _ in range(4)]
        ports: list[int] = []
        for room in rooms:
            setup = await ended(room)
            assert setup.state is SetupState.DONE
            ports += setup.ports.values()
        assert len(set(ports)) == 8
        task = await rooms[0].prompt("echoenv WEB_PORT")
        assert "WEB_PORT is set" in await rooms[0].text_of(task)
        for room in rooms:
            await place.host.sessions.close(room.session.id, force=True)
        async with place.host.store.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM leased_ports") == 0


# Files


@pytest.mark.scenario("worktree-setup: Ignored files are copied")
async def test_ignored_files_are_copied_without_trust_and_never_show_as_changes(
    tmp_path: Path, database_url: str
) -> None:
    async with open_place(tmp_path, database_url, 'include = [".env", "*.local", "!not.local", "secret/"]\n') as place:
        checkout = place.repository
        (checkout / ".env").write_text("KEY=1\n")
        (checkout / ".env").chmod(0o600)
        (checkout / "not.local").touch()
        (checkout / "deep" / "er").mkdir(parents=True)
        (checkout / "deep" / "er" / "run.local").write_text("#!/bin/sh\n")
        (checkout / "deep" / "er" / "run.local").chmod(0o755)
        (checkout / "secret").mkdir()
        (checkout / "secret" / "key").write_bytes(b"\x00\xff")
        room = await place.open()
        setup = await ended(room)
        assert setup.state is SetupState.DONE
        assert set(setup.log.splitlines()) == {"copied .env", "copied deep/er/run.local", "copied secret/key"}
        assert (room.worktree / ".env").read_text() == "KEY=1\n"
        assert (room.worktree / ".env").stat().st_mode & 0o777 == 0o600
        assert (room.worktree / "deep/er/run.local").stat().st_mode & 0o777 == 0o755
        assert (room.worktree / "secret/key").read_bytes() == b"\x00\xff"
        assert not (room.worktree / "not.local").exists()
        await room.prompt("say hi")
        assert await room.changes(None) == []
        await place.host.sessions.close(room.session.id, force=False)


@pytest.mark.scenario("worktree-setup: A list of files alone")
async def test_a_worktreeinclude_is_read_where_no_setup_file_names_files(tmp_path: Path, database_url: str) -> None:
    files = {".worktreeinclude": "# what a worktree needs\n.env*\n!.env.prod\n"}
    async with open_place(tmp_path, database_url, None, **files) as place:
        for name in (".env", ".env.test", ".env.prod"):
            (place.repository / name).write_text(name)
        room = await place.open()
        setup = await ended(room)
        assert setup.source == ".worktreeinclude"
        assert sorted(path.name for path in room.worktree.glob(".env*")) == [".env", ".env.test"]


@pytest.mark.scenario("worktree-setup: Copying stays inside")
async def test_nothing_is_copied_from_outside_into_git_or_over_a_file(tmp_path: Path, database_url: str) -> None:
    files = {"tracked.env": "tracked\n"}
    async with open_place(tmp_path, database_url, 'include = ["*"]\n', **files) as place:
        checkout = place.repository
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "key").write_text("private")
        (checkout / "away.local").symlink_to(outside / "key")
        (checkout / "up.local").symlink_to("../outside/key")
        (checkout / "config.local").symlink_to(".git/config")
        (checkout / "folder.local").symlink_to(outside)
        (checkout / ".env").write_text("real")
        (checkout / "twin.local").symlink_to(".env")
        (checkout / "chain.local").symlink_to("away.local")
        (checkout / "untracked.txt").write_text("not ignored")
        make_repository(checkout / "nested.local", {"a.txt": "a"})
        room = await place.open()
        setup = await ended(room)
        assert setup.state is SetupState.DONE
        names = {path.name for path in room.worktree.iterdir()}
        assert names == {".git", ".coder", ".gitignore", "README.md", "tracked.env", ".env", "twin.local"}
        assert (room.worktree / "twin.local").read_text() == "real"
        assert not (room.worktree / "twin.local").is_symlink()
        assert (room.worktree / ".git").is_file()
        await room.prompt("say hi")
        assert await room.changes(None) == []
        (checkout / ".env").write_text("newer")
        (room.worktree / ".env").write_text("the agent's")
        after = (await place.host.sessions.get(room.session.id)).last_seq
        await place.host.setups.run(room.session.id)
        await room.seen(lambda one: one.event.type == "setup_updated" and one.event.setup.state == "done", after)
        assert (room.worktree / ".env").read_text() == "the agent's"


@pytest.mark.scenario("worktree-setup: A link in the worktree leads nowhere")
async def test_a_linked_folder_of_the_commit_is_not_written_through(tmp_path: Path, database_url: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    async with open_place(tmp_path, database_url, 'include = ["*.local"]\n') as place:
        checkout = place.repository
        (checkout / "config").symlink_to(outside)
        commit_files(checkout, {})
        linked = git(checkout, "rev-parse", "HEAD")
        (checkout / "config").unlink()
        commit_files(checkout, {"config/tracked.txt": "x"})
        (checkout / "config" / "mine.local").write_text("x")
        room = await place.open(linked)
        setup = await ended(room)
        assert setup.state is SetupState.DONE
        assert "not copied: config/mine.local" in setup.log
        assert list(outside.iterdir()) == []


# Submodules


@pytest.mark.scenario("worktree-setup: Submodules from the checkout")
async def test_submodules_are_checked_out_of_what_the_checkout_has(tmp_path: Path, database_url: str) -> None:
    library = make_repository(tmp_path / "library", {"lib.txt": "one\n"})
    async with open_place(tmp_path, database_url, "submodules = true\n") as place:
        allow = ("-c", "protocol.file.allow=always")
        git(place.repository, *allow, "submodule", "add", "-q", str(library), "vendor/lib")
        git(place.repository, "commit", "-qm", "Add the library")
        settings = (place.repository / ".git" / "config").read_text()
        room = await place.open()
        setup = await ended(room)
        assert (setup.state, setup.log) == (SetupState.DONE, "submodule vendor/lib\n")
        assert (room.worktree / "vendor/lib/lib.txt").read_text() == "one\n"
        assert (place.repository / ".git" / "config").read_text() == settings
        await room.prompt("say hi")
        assert await room.changes(None) == []
        await place.host.sessions.close(room.session.id, force=False)
        assert not room.worktree.exists()


@pytest.mark.scenario("worktree-setup: A submodule that is not here")
async def test_a_submodule_that_the_checkout_lacks_is_named(tmp_path: Path, database_url: str) -> None:
    library = make_repository(tmp_path / "library", {"lib.txt": "one\n"})
    async with open_place(tmp_path, database_url, "submodules = true\n") as place:
        modules = f'[submodule "lib"]\n\tpath = vendor/lib\n\turl = {library}\n'
        commit_files(place.repository, {".gitmodules": modules})
        commit = git(library, "rev-parse", "HEAD")
        git(place.repository, "update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/lib")
        git(place.repository, "commit", "-qm", "Pin the library")
        room = await place.open()
        setup = await ended(room)
        assert (setup.state, setup.holds) == (SetupState.FAILED, True)
        assert setup.error is not None
        assert "vendor/lib" in setup.error.message
        assert (await place.host.setups.skip(room.session.id)).state is SetupState.SKIPPED
        assert (await room.prompt("say hi")).state is TaskState.COMPLETED


async def text_of(path: Path) -> str:
    """What a command writes there, once it has."""
    with anyio.fail_after(20):
        while not path.exists() or not path.read_text().strip():
            await anyio.sleep(0.02)
    return path.read_text()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
