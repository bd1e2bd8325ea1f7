"""Real git repositories for tests, the same on every machine: no configuration of the user's is read."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

FILES: Mapping[str, str | bytes] = {
    "README.md": "# Sample\n\nA small project.\n",
    "src/hello.py": 'def hello() -> str:\n    return "hello"\n',
    "data/logo.bin": bytes(range(256)),
}


def git(folder: Path, *arguments: str, input: bytes | None = None) -> str:
    """Run git there and give what it prints, without the last line end; it reads `input`.

    Raises:
        subprocess.CalledProcessError: git failed; its words are in `stderr`.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, input=input, capture_output=True, check=True)
    return done.stdout.decode(errors="surrogateescape").removesuffix("\n")


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Put files below a folder; text is written as it is."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def commit_files(repository: Path, files: Mapping[str, str | bytes], message: str = "Change files") -> str:
    """Write the files, commit everything that changed, and give the commit's id."""
    write_files(repository, files)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(repository, "rev-parse", "HEAD")


def make_repository(folder: Path, files: Mapping[str, str | bytes] = FILES, *, branch: str = "main") -> Path:
    """A new repository with one commit of these files; without files it has no commit. Gives the folder back."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", f"--initial-branch={branch}")
    # The host itself works with the repository's own identity, as a user's repository would have one.
    git(folder, "config", "user.name", "Test")
    git(folder, "config", "user.email", "test@example.org")
    if files:
        commit_files(folder, files, "Start")
    return folder
