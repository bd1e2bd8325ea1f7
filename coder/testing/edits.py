"""What a scripted agent does to files."""

from pathlib import Path

from coder.testing.script import Statement
from coder.testing.wire import Json


def as_lines(text: str) -> str:
    """The text as a file holds it: with a line end."""
    return text if not text or text.endswith("\n") else f"{text}\n"


def change_files(statement: Statement, paths: list[Path]) -> list[Json]:
    """Carry the statement out; the differences that a tool call shows.

    Raises:
        OSError, ValueError: it cannot be done.
    """
    path = paths[0]
    match statement.verb:
        case "delete":
            path.unlink()
            return []
        case "rename":
            paths[1].parent.mkdir(parents=True, exist_ok=True)
            path.rename(paths[1])
            return []
        case "edit":
            old_text = path.read_text()
            if statement["old"] not in old_text:
                raise ValueError(f"{statement['path']} does not hold {statement['old']!r}")
            new_text = old_text.replace(statement["old"], statement["new"], 1)
        case _:
            old_text = path.read_text() if path.is_file() else None
            new_text = as_lines(statement["text"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(new_text)
    return [{"type": "diff", "path": str(path), "oldText": old_text, "newText": new_text}]
