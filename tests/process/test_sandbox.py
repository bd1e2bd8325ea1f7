"""What a confined agent can do: its work, and nothing else. With every kind of sandbox that this machine has."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from coder.backends.quarters import Quarters, without_tidying
from coder.model.providers import Provider
from coder.model.sandboxes import Sandbox
from coder.processes.child import ChildSpec
from coder.processes.confinement import Confinement
from coder.testing.repositories import git, make_repository
from coder.worktrees.grounds import find_ground
from coder.worktrees.worktree import add_worktree
from tests.process import escapes
from tests.process.marks import QUICK, Mark, drain, running
from tests.process.sandboxes import every_sandbox, with_bubblewrap

CANARY = "canary-5d1f"
AGENT = Provider(
    id="demo",
    label="Demo",
    command=(sys.executable,),
    state_folders=("~/.demo",),
    locked_files=("~/.demo/settings.json", "~/.demo/hooks/"),
    copied_files=("~/.demo.json",),
    read_folders=("{python}",),
)
ONES_OWN = (
    "write the user's shell start",
    "write up and out",
    "write to the checkout",
    "read every environment",
    "go through every root",
)
"""What may be done without harm: to files in a home or folder of the agent's own, and to processes of its own."""

HIDDEN = "(setsid env -i sleep {seconds} < /dev/null > /dev/null 2>&1 &) && echo started && sleep 60"
"""A process that nothing ties to its agent any more: no parent, no session, no variable, no pipe."""
HOST = """
import anyio, sys
from pathlib import Path
from coder.model.sandboxes import Sandbox
from coder.processes.child import ChildSpec
from coder.processes.confinement import Confinement
from coder.processes.supervisor import open_supervisor

async def main(folder, program, script):
    sandbox = Sandbox(kind="bubblewrap", program=program)
    confinement = Confinement(sandbox, Path("/home/nobody"), folder, write=(folder,))
    async with open_supervisor(folder, "run1") as supervisor:
        spec = ChildSpec(("sh", "-c", script), folder, {"PATH": "/usr/bin:/bin"}, confinement=confinement)
        async with supervisor.open_child(spec) as child:
            await child.receive_lines()
            print("started", flush=True)
            await anyio.sleep_forever()

anyio.run(main, Path(sys.argv[1]), *sys.argv[2:])
"""


@dataclass(frozen=True)
class Scene:
    """A repository with two sessions' worktrees, a user's home, a host's state, and an agent in the first worktree."""

    folder: Path
    confinement: Confinement
    mark: Mark

    @property
    def worktree(self) -> Path:
        return self.folder / "state" / "worktrees" / "own"

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def spec(self, *argv: str) -> ChildSpec:
        env = without_tidying({**self.mark.environment, "HOME": str(self.folder / "user")})
        return ChildSpec(argv, self.worktree, env, stop=QUICK, confinement=self.confinement)

    async def run(self, *argv: str) -> str:
        """What a program says that ends well."""
        async with running(self.spec(*argv), self.folder / "runs") as child:
            lines = await drain(child)
            status = await child.wait()
            assert status == 0, child.stderr_tail()
        return b"\n".join(lines).decode()

    def outside(self) -> str:
        """What everything holds that is not the agent's to change."""
        digest = hashlib.sha256()
        own = ("worktrees/own", "repo/.git/objects", "repo/.git/worktrees/own", "coder/own", "agents", "runs")
        for path in sorted(self.folder.rglob("*")):
            if not any(f"{part}/" in f"{path}/" for part in own):
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                digest.update(f"{path} {path.lstat().st_mode}".encode() + content)
        return digest.hexdigest()


async def open_scene(folder: Path, sandbox: Sandbox) -> Scene:
    repo, state = make_repository(folder / "repo"), folder / "state"
    for name in ("own", "other"):
        await add_worktree(repo, state / "worktrees" / name, f"coder/{name}", None)
    git(repo, "gc", "--quiet")
    git(repo, "update-ref", "refs/heads/coder/other", git(repo, "commit-tree", "-m", "other", "HEAD^{tree}"))
    files = {
        "outside/file": "",
        "state/token": CANARY,
        "state/coder-providers.json": CANARY,
        "user/.ssh/id_rsa": CANARY,
        "user/.bashrc": "",
        "user/.gitconfig": "[user]\n\tname = Agent\n\temail = agent@example.org\n",
        "user/.demo/key": "key\n",
        "user/.demo.json": "{}",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)

    return Scene(folder, await confine(folder, sandbox), Mark())


async def confine(folder: Path, sandbox: Sandbox) -> Confinement:
    """As the host does it before it starts the agent."""

    async def find() -> Sandbox:
        return sandbox

    state = folder / "state"
    quarters = Quarters((state,), "auto", find)
    ground = await find_ground(folder / "repo", state / "worktrees" / "own", "coder/own")
    env = {"HOME": str(folder / "user"), "PATH": os.environ["PATH"]}
    return await quarters.confine(AGENT, sandbox, sys.executable, env, state / "agents" / "own", ground)


@contextmanager
def listening(address: str) -> Generator[None]:
    """A socket that gives its secret to whoever comes."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()

        def answer() -> None:
            while True:
                try:
                    visitor, _ = server.accept()
                except OSError:
                    return
                with visitor:
                    visitor.sendall(CANARY.encode())

        threading.Thread(target=answer, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)


@contextmanager
def living(folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """A process of the host's, with a secret, at home in its state."""
    env = {"SECRET": CANARY, "PATH": os.environ["PATH"]}
    with subprocess.Popen(["sleep", "60"], cwd=folder, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


@every_sandbox
@pytest.mark.scenario("sandbox: A hostile agent tries to get out")
async def test_no_attempt_to_get_out_comes_to_anything(tmp_path: Path, sandbox: Sandbox) -> None:
    scene = await open_scene(tmp_path, sandbox)
    state, admin = tmp_path / "state", scene.repo / ".git" / "worktrees"
    places = {
        "worktree": scene.worktree,
        "other": scene.worktree.parent / "other",
        "repo": scene.repo,
        "host": state,
        "home": tmp_path / "user",
        "outside": tmp_path / "outside",
        "own": admin / "own",
        "other_own": admin / "other",
    }
    named = json.dumps({name: str(path) for name, path in places.items()})
    text = Path(escapes.__file__).read_text()
    with (
        listening(str(state / "database")),
        listening(f"\0{state}"),
        living(state) as victim,
    ):
        before = scene.outside()
        said = await scene.run(sys.executable, "-I", "-c", text, named, str(victim.pid), sandbox.kind)
        is_alive = victim.poll() is None
        after = scene.outside()
    results: dict[str, str] = json.loads(said)

    assert len(results) >= 40
    assert {name: came for name, came in results.items() if came.startswith("got") and name not in ONES_OWN} == {}
    assert CANARY not in said
    assert is_alive
    assert after == before


@every_sandbox
@pytest.mark.scenario("sandbox: An agent does its work")
async def test_work_on_the_session_s_branch_is_as_ever(tmp_path: Path, sandbox: Sandbox) -> None:
    scene = await open_scene(tmp_path, sandbox)
    script = """set -e
        echo changed >> README.md && mkdir -p deep/er && echo new > deep/er/file.txt
        git add --all && git commit --quiet --message 'By the agent'
        git status --porcelain && git log --format=%s -1 && git diff HEAD~1 --stat >/dev/null
        cat ~/.demo/key && echo more >> ~/.demo/conversation && test -f ~/.demo.json && echo mine > ~/.demo.json
        echo kept > ~/note && f=$(mktemp) && echo temporary > "$f" && cat "$f" && rm "$f"
        python3 -c 'import subprocess, json; print(subprocess.check_output(["echo", "python"]).decode().strip())'
        node -e 'require("child_process").execFile("echo", ["node"], (_, out) => process.stdout.write(out))'
    """
    said = await scene.run("sh", "-c", script)
    again = await scene.run("sh", "-c", "cat ~/note ~/.demo.json")

    assert said.splitlines() == ["By the agent", "key", "temporary", "python", "node"]
    assert git(scene.repo, "log", "-1", "--format=%s", "coder/own") == "By the agent"
    assert git(scene.repo, "show", "coder/own:deep/er/file.txt") == "new"
    assert again == "kept\nmine"
    user = tmp_path / "user"
    assert (user / ".demo/conversation").read_text() == "more\n"
    assert (user / ".demo.json").read_text() == "{}"
    assert not (user / "note").exists()


@every_sandbox
@pytest.mark.scenario("sandbox: An agent leaves links behind")
async def test_links_that_an_agent_leaves_in_its_home_lead_the_next_one_nowhere(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    scene = await open_scene(tmp_path, sandbox)
    home, outside = scene.confinement.own_home, tmp_path / "outside"
    before = sorted(outside.iterdir())
    for name in (".demo", ".gitconfig", ".demo.json"):
        (home / name).unlink(missing_ok=True)
        (home / name).symlink_to(outside / "file")

    again = replace(scene, confinement=await confine(tmp_path, sandbox))
    said = await again.run("sh", "-c", "cat ~/.demo/key; echo mine > ~/.demo.json")

    assert said == "key"
    assert sorted(outside.iterdir()) == before
    assert (outside / "file").read_text() == ""


@with_bubblewrap
@pytest.mark.scenario("sandbox: A hidden process outlives its agent")
async def test_what_hides_from_its_agent_is_gone_with_it(tmp_path: Path, sandbox: Sandbox) -> None:
    scene = await open_scene(tmp_path, sandbox)
    async with running(scene.spec("sh", "-c", HIDDEN.format(seconds=86011)), tmp_path / "runs") as child:
        assert await child.receive_lines() == [b"started"]
        await sleepers(86011, are_there=True)
    assert child.returncode == -signal.SIGTERM

    await sleepers(86011, are_there=False)


@with_bubblewrap
@pytest.mark.scenario("sandbox: The host is killed")
async def test_what_hides_from_a_host_that_is_killed_is_gone_with_it(tmp_path: Path, sandbox: Sandbox) -> None:
    assert sandbox.program is not None
    command = [sys.executable, "-c", HOST, str(tmp_path), sandbox.program, HIDDEN.format(seconds=86012)]
    async with await anyio.open_process(command, stderr=None) as host:
        assert host.stdout is not None
        with anyio.fail_after(20):
            assert (await host.stdout.receive()).startswith(b"started")
        await sleepers(86012, are_there=True)
        host.kill()
        await host.wait()

    await sleepers(86012, are_there=False)


async def sleepers(seconds: int, *, are_there: bool) -> None:
    """Wait until somebody sleeps for so long, or nobody does any more, told by what everybody may see."""
    wanted = f"sleep\0{seconds}\0".encode()
    with anyio.fail_after(10):
        while any(_command(path) == wanted for path in Path("/proc").glob("[0-9]*")) is not are_there:
            await anyio.sleep(0.02)


def _command(path: Path) -> bytes:
    try:
        return (path / "cmdline").read_bytes()
    except OSError:
        return b""
