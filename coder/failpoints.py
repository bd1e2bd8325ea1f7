"""Named places between two steps that belong together, where a test ends the process as a crash would."""

import os
import signal
from contextvars import ContextVar

_armed: ContextVar[list[str] | None] = ContextVar("armed failpoints", default=None)


def arm(*names: str) -> None:
    """From here on in this context, and in what it starts, the names are met in this order; at the last, SIGKILL."""
    _armed.set(list(names))


def failpoint(name: str) -> None:
    """Nothing, unless a test has armed it: then this process is gone."""
    armed = _armed.get()
    if armed and armed[0] == name:
        armed.pop(0)
        if not armed:
            os.kill(os.getpid(), signal.SIGKILL)
