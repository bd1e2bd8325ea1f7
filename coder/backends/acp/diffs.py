"""Git patches of agents to the texts before and after that a viewer is shown."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from coder.model.tool_calls import ToolDiff

_NO_LINE_END = "\\"


def diffs_of(patch: str, paths: list[str]) -> list[ToolDiff]:
    """One diff for each path that the patch tells of. The texts hold what the patch shows of the files."""
    sections = [section for lines in _split(patch) if (section := _read(lines)).is_told]
    found: list[ToolDiff] = []
    for path in paths:
        section = next((section for section in sections if section.names(path)), None)
        if section is None and len(sections) == len(paths) == 1:
            section = sections[0]
        if section:
            old_text = None if section.is_new else "".join(section.old)
            found.append(ToolDiff(path=path, old_text=old_text, new_text="".join(section.new)))
    return found


@dataclass
class _Section:
    """What a patch says of one file."""

    header: list[str] = field(default_factory=list[str])
    old: list[str] = field(default_factory=list[str])
    new: list[str] = field(default_factory=list[str])

    @property
    def is_told(self) -> bool:
        return bool(self.old or self.new)

    @property
    def is_new(self) -> bool:
        return any(line.startswith("--- /dev/null") for line in self.header)

    def names(self, path: str) -> bool:
        """Whether it is about the file: by whole path, or by its end after the prefix that git adds."""
        for line in self.header:
            named = line[4:].split("\t")[0].strip().strip('"') if line.startswith(("--- ", "+++ ")) else ""
            if named == path or (named[:2] in ("a/", "b/") and path.endswith(named[1:])):
                return True
        return False


def _split(patch: str) -> Iterator[list[str]]:
    lines: list[str] = []
    for line in patch.splitlines(keepends=True):
        if line.startswith("diff --git ") and lines:
            yield lines
            lines = []
        lines.append(line)
    yield lines


def _read(lines: list[str]) -> _Section:
    section = _Section()
    last: list[list[str]] = []
    for line in lines:
        if line.startswith("@@"):
            last = [section.old, section.new]
        elif not last:
            section.header.append(line.rstrip("\n"))
        elif line.startswith(_NO_LINE_END):
            for side in last:
                side[-1:] = [side[-1].rstrip("\n")] if side else []
        elif line[:1] in "-+ \n":
            last = {"-": [section.old], "+": [section.new]}.get(line[0], [section.old, section.new])
            for side in last:
                side.append(line[1:] or "\n")
    return section
