"""The wheel: what it holds, and the program that runs from it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOUND = """
from coder import resources
assert resources.checkout_root() is None
for path in (resources.schema_path(), resources.catalogue_path(), resources.ui_path() / "index.html"):
    assert path.is_file(), path
    assert "venv" in path.parts, path
"""


def uv_path() -> str:
    """The uv that `./dev` uses; skips the test where there is none."""
    own = [ROOT / ".cache" / "uv" / "bin" / "uv", ROOT / ".cache" / "uv-venv" / "bin" / "uv"]
    found = shutil.which("uv") or next((str(path) for path in own if path.is_file()), None)
    if found is None:
        pytest.skip("no uv: `./dev setup`")
    if not (ROOT / "coder" / "ui" / "index.html").is_file():
        pytest.skip("the pane is not built: `./dev setup`")
    return found


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    more: Mapping[str, str] = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=more, capture_output=True, text=True, check=False)


def build_wheel(uv: str, folder: Path) -> Path:
    """The checkout's wheel, with the pane as it is built now; what the build needs is in uv's cache after a set-up."""
    command = (uv, "build", "--quiet", "--wheel", "--out-dir", folder, "--python", sys.executable)
    done = run(*command, "--offline", CODER_SKIP_UI="1")
    if done.returncode:
        done = run(*command, CODER_SKIP_UI="1")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.scenario("setup: The wheel is whole")
def test_the_wheel_holds_what_the_host_needs_and_runs(tmp_path: Path):
    uv = uv_path()
    wheel = build_wheel(uv, tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"coder/schema.sql", "coder/providers/catalogue.json", "coder/ui/index.html"} <= names
    assert any(name.startswith("coder/ui/assets/") and name.endswith(".js") for name in names)
    for font in ("geist", "geist-mono"):
        assert f"coder/ui/licences/{font}.txt" in names
    assert "coder/ui/licences/packages.md" in names

    python = tmp_path / "venv" / "bin" / "python"
    for command in (["venv", python.parents[1], "--python", sys.executable], ["pip", "install", "--no-deps", wheel]):
        done = run(uv, *command, "--quiet", "--offline", VIRTUAL_ENV=str(python.parents[1]))
        assert done.returncode == 0, done.stderr
    # its dependencies are those of the environment that runs the tests
    packages = sysconfig.get_paths()["purelib"]
    helped = run(python.parent / "coder", "--help", PYTHONPATH=packages)
    assert (helped.returncode, "Usage" in helped.stdout) == (0, True), helped.stderr
    found = subprocess.run(
        [python, "-c", FOUND],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": packages},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
