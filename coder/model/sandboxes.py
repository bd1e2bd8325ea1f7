"""Sandboxes: what holds an agent in its worktree."""

from typing import Literal

from coder.model.values import Value

SandboxKind = Literal["bubblewrap", "landlock", "none"]
SandboxMode = Literal["auto", "require", "off"]
"""`auto` is the best there is, `require` refuses to start an agent without one, `off` is none."""


class Sandbox(Value):
    """What this machine offers. `program` is bubblewrap's; `reason` says why it is not a better kind."""

    kind: SandboxKind = "none"
    program: str | None = None
    reason: str = ""
