"""Files of a worktree as they are found by name."""

from coder.model.values import Value


class FoundFile(Value):
    """`path` is relative to the worktree, in the form in which changes name files."""

    path: str
