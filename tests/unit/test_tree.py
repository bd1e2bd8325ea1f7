"""What no tracked file may hold."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Spelled in pieces, so that this file does not hold what it looks for.
REGISTRY_HOSTS = "|".join(
    re.escape(host)
    for host in (
        "registry." + "npmjs",
        "pypi" + ".org",
        "files.python" + "hosted",
        "registry." + "yarnpkg",
        '"resolved' + '":',
    )
)
MACHINE_PATHS = "|".join(rf"(?<![\w.~-])/{name}/" for name in ("work", "root", "farm"))


def tracked_texts() -> list[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts: list[tuple[str, str]] = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            texts.append((name, content.decode(errors="replace")))
    return texts


@pytest.mark.scenario("setup: No tracked file names a registry host")
def test_no_tracked_file_names_a_registry_host():
    assert [name for name, text in tracked_texts() if re.search(REGISTRY_HOSTS, text)] == []


def test_no_tracked_file_names_a_folder_of_one_machine():
    found = [name for name, text in tracked_texts() if re.search(MACHINE_PATHS, text)]

    assert found == []


@pytest.mark.scenario("setup: Every locked package has a hash")
@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "tests/agents/agentao.lock"])
def test_every_locked_package_has_a_hash(lock: str):
    packages = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())

    assert [package for package in packages if "--hash=sha256:" not in package] == []
