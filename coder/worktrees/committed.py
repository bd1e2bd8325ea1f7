"""Single files as a commit has them, whatever a working tree holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from coder.errors import TooLarge
from coder.worktrees.git import run_git


async def read_committed(repo: Path, commit: str, paths: Sequence[str], *, size_limit: int) -> Mapping[str, bytes]:
    """The content of those of `paths` that are files in the commit. One git command where none is.

    Raises:
        TooLarge: one is over `size_limit` bytes.
    """
    question = "".join(f"{commit}:{path}\n" for path in paths).encode()
    answers = (await run_git("cat-file", "--batch-check", cwd=repo, input=question)).decode(errors="replace")
    found: dict[str, bytes] = {}
    for path, answer in zip(paths, answers.splitlines(), strict=False):
        words = answer.split(" ")
        if len(words) != 3 or words[1] != "blob":
            continue
        if int(words[2]) > size_limit:
            raise TooLarge(f"{path} is over {size_limit} bytes", path=path, limit=size_limit)
        found[path] = await run_git("cat-file", "blob", words[0], cwd=repo)
    return found
