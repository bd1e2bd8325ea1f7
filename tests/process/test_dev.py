"""`./dev` in a copy of the checkout, with programs of the test's own in place of the registries' parts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = (
    "sh",
    "dirname",
    "cat",
    "find",
    "sort",
    "xargs",
    "cksum",
    "mkdir",
    "rm",
    "sed",
    "printf",
    "env",
    "id",
    "ln",
    "chmod",
)

PANE = [
    "web/package.json",
    "web/package-lock.json",
    "web/.npmrc",
    "web/index.html",
    "web/vite.config.ts",
    "web/tsconfig.json",
    "web/src/main.tsx",
    "web/public/favicon.svg",
]

UV = """#!/bin/sh
echo "uv $*" >> "$CALLS"
make() { printf '#!/bin/sh\\n%s\\n' "$2" > "$1"; chmod +x "$1"; }
mkdir -p .venv/bin
case "$*" in
    venv*) make .venv/bin/python ;;
    *editable*) make .venv/bin/coder 'echo "coder $*" >> "$CALLS"' ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that `./dev up` looks at, and a folder `bin` with nothing but shell tools."""
    folder = tmp_path / "checkout"
    for part in ("src", "public"):
        (folder / "web" / part).mkdir(parents=True)
    for name in ("dev", "requirements.lock", "requirements-dev.lock", "hatch_build.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name in PANE:
        (folder / name).write_text(name)
    (folder / "bin").mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (folder / "bin" / tool).symlink_to(found)
    return folder


def add_program(checkout: Path, name: str, text: str) -> None:
    program = checkout / "bin" / name
    program.write_text(text)
    program.chmod(0o755)


def run_dev(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout), "CALLS": str(checkout / "calls")}
    return subprocess.run(
        ["./dev", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def calls(checkout: Path) -> list[str]:
    return [line.split(" --")[0] for line in (checkout / "calls").read_text().splitlines()]


@pytest.mark.scenario("setup: The second start skips the set-up")
def test_the_second_start_skips_the_set_up(checkout: Path):
    add_program(checkout, "python3", "#!/bin/sh\n")
    add_program(checkout, "uv", UV)
    first = run_dev(checkout, "up", "--port", "9600")
    second = run_dev(checkout, "up")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert calls(checkout) == ["uv venv", "uv pip sync", "uv pip install", "coder up", "coder up"]


@pytest.mark.scenario("setup: A changed source is built again")
@pytest.mark.parametrize("source", PANE)
def test_a_changed_source_of_the_pane_is_built_again(checkout: Path, source: str):
    add_program(checkout, "python3", "#!/bin/sh\n")
    add_program(checkout, "uv", UV)
    run_dev(checkout, "up")
    (checkout / source).write_text("changed")
    run_dev(checkout, "up")

    assert calls(checkout)[4:] == ["uv pip sync", "uv pip install", "coder up"]


@pytest.mark.scenario("setup: What is missing is named with the line that installs it")
@pytest.mark.parametrize(
    ("python", "line"),
    [
        ("#!/bin/sh\nexit 1\n", "apt-get install python3 python3-venv python3-pip"),
        ('#!/bin/sh\n[ "$1" = -c ]\n', "apt-get install python3-venv python3-pip"),
    ],
    ids=["an old Python", "neither pip nor venv"],
)
def test_what_is_missing_is_named_with_the_line_that_installs_it(checkout: Path, python: str, line: str):
    add_program(checkout, "python3", python)

    done = run_dev(checkout, "up")

    assert done.returncode == 1
    assert line in done.stderr


def test_a_failed_set_up_is_tried_again(checkout: Path):
    add_program(checkout, "python3", "#!/bin/sh\n")
    add_program(checkout, "uv", '#!/bin/sh\necho "uv $*" >> "$CALLS"\nexit 1\n')
    assert run_dev(checkout, "up").returncode == 1
    add_program(checkout, "uv", UV)

    assert run_dev(checkout, "up").returncode == 0


def test_an_unknown_command_gets_the_list_of_commands(checkout: Path):
    done = run_dev(checkout, "dance")

    assert done.returncode == 2
    assert "./dev up [flags]" in done.stdout


@pytest.mark.scenario("setup: CI runs the project's own test command")
def test_ci_runs_the_test_command_of_the_project(tmp_path: Path):
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    add_dev = tmp_path / "dev"
    add_dev.write_text('#!/bin/sh\necho "$PWD $*"\n')
    add_dev.chmod(0o755)

    done = subprocess.run([tmp_path / ".ci" / "run"], cwd=os.sep, capture_output=True, text=True, check=True)

    assert done.stdout == f"{tmp_path} test\n"
