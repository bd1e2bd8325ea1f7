"""What agents and people do to files, drawn by Hypothesis."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypothesis import strategies as st

from tests.faults.trees import EXECUTABLE, LINK, PLAIN, File, put_file

Kind = Literal["cell", "text", "short", "crlf", "empty", "binary", "link", "chmod", "delete", "rename"]
KINDS: tuple[Kind, ...] = ("cell", "text", "short", "crlf", "empty", "binary", "link", "chmod", "delete", "rename")

PATHS = ("a.txt", "b.txt", "d", "d/in.txt", "d/e/deep.txt", "logo.bin", "caf\udce9.txt")


def text_of(*cells: str) -> bytes:
    """Three places for lines, far enough from each other to be hunks of their own."""
    blocks = [[f"{number}.{line}" for line in range(8)] for number in range(4)]
    lines = [
        line for block, cell in zip(blocks, (*cells, "", "", ""), strict=False) for line in (*block, *cell.split())
    ]
    return "".join(f"{line}\n" for line in lines).encode()


START: dict[str, File] = {
    "a.txt": File(PLAIN, text_of("one", "two", "three")),
    "d/in.txt": File(PLAIN, text_of("four", "five six", "seven")),
    "logo.bin": File(EXECUTABLE, bytes(range(256))),
}


@dataclass(frozen=True)
class Edit:
    """Something done to one file; `number` and `size` choose among the ways to do it."""

    kind: Kind
    path: str
    to: str
    number: int
    size: int

    def make(self, folder: Path, token: str) -> None:
        """Do it below `folder`; what is written holds the token."""
        target = folder / self.path
        is_file = target.is_file() and not target.is_symlink()
        match self.kind:
            case "cell":
                self._edit(folder, target.read_bytes() if is_file else text_of(), target, token)
            case "text":
                self._put(folder, text_of(*(token if number == self.number else "x" for number in range(3))))
            case "short":
                self._put(folder, f"{token}\nlast".encode() + b"\n" * self.size)
            case "crlf":
                self._put(folder, text_of(token, "two").replace(b"\n", b"\r\n"))
            case "empty":
                self._put(folder, b"")
            case "binary":
                self._put(folder, b"\0" + token.encode())
            case "link":
                put_file(folder, self.path, File(LINK, token.encode()))
            case "chmod":
                if is_file:
                    target.chmod(0o644 if os.access(target, os.X_OK) else 0o755)
            case "delete":
                self._delete(folder, target)
            case "rename":
                if is_file and self.to != self.path:
                    mode = EXECUTABLE if os.access(target, os.X_OK) else PLAIN
                    moved = File(mode, target.read_bytes())
                    target.unlink()
                    put_file(folder, self.to, moved)

    def _edit(self, folder: Path, content: bytes, target: Path, token: str) -> None:
        end = b"\r\n" if b"\r\n" in content else b"\n"
        added = b"".join(f"{token}.{line}".encode() + end for line in range(self.size))
        first, last = f"{self.number}.7".encode() + end, f"{self.number + 1}.0".encode() + end
        start, stop = content.find(first), content.find(last)
        if 0 <= start < stop:
            content = content[: start + len(first)] + added + content[stop:]
        else:
            content += added
        put_file(
            folder, self.path, File(EXECUTABLE if target.exists() and os.access(target, os.X_OK) else PLAIN, content)
        )

    def _put(self, folder: Path, content: bytes) -> None:
        put_file(folder, self.path, File(EXECUTABLE if self.number == 2 else PLAIN, content))

    def _delete(self, folder: Path, target: Path) -> None:
        if not target.is_symlink() and not target.is_file():
            return
        target.unlink()
        # with `size` 0 an empty folder stays behind
        while self.size and target.parent != folder and not any(target.parent.iterdir()):
            target = target.parent
            target.rmdir()


edits = st.builds(
    Edit,
    kind=st.sampled_from(KINDS),
    path=st.sampled_from(PATHS),
    to=st.sampled_from(PATHS),
    number=st.integers(0, 2),
    size=st.integers(0, 2),
)
