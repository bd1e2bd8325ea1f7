"""One turn on the wire: when it is over, why, and how long the agent may be silent."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from coder.backends.base import PromptContext, TurnResult
from coder.errors import AgentTimeout, AuthRequired, CoderError
from coder.model.tasks import Fault, Usage


@dataclass(frozen=True)
class AgentLimits:
    """Deadlines in seconds. Time while a permission is open or events wait to be taken does not count as silence."""

    initialize: float = 60
    session_start: float = 120
    first_update: float = 120
    inactivity: float = 600
    cancel: float = 10
    request: float = 30
    """For small requests: setting a mode or model, closing a session."""
    write: float = 30
    """How long the agent may take to read what is written to it."""
    replay_quiet: float = 0.1
    """After a load: so long without an update means that a late replay is over."""


class Turn:
    """The state of the one running turn. `over` is set when the prompt is answered or the agent is gone."""

    def __init__(self, context: PromptContext, limits: AgentLimits, clock: Callable[[], float]) -> None:
        self.context = context
        self.over = anyio.Event()
        self.is_cancelled = False
        self.is_answered = False
        self.error: CoderError | None = None
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self._limits = limits
        self._clock = clock
        self.has_begun = False
        self._heard_at = clock()
        self._asking = 0
        self._answered = anyio.Event()

    def heard(self) -> None:
        """The agent gave a sign of life."""
        self._heard_at = self._clock()

    def begin_asking(self) -> None:
        """A permission request is open: the agent waits for a person, not we for it."""
        self.has_begun = True
        self._asking += 1

    def end_asking(self) -> None:
        self._asking -= 1
        self.heard()
        if not self._asking:
            self._answered.set()
            self._answered = anyio.Event()

    async def wait_answered(self) -> None:
        """Wait until no permission request is open."""
        while self._asking:
            await self._answered.wait()

    async def wait_for_silence(self, is_busy: Callable[[], bool]) -> AgentTimeout:
        """Return when the agent has been silent for too long; `is_busy` says that the host is behind, not the agent."""
        while True:
            limit = self._limits.inactivity if self.has_begun else self._limits.first_update
            if self._asking or is_busy():
                self._heard_at = self._clock()
            left = self._heard_at + limit - self._clock()
            if left <= 0:
                words = "said nothing" if self.has_begun else "did not begin to answer"
                return AgentTimeout(f"the agent {words} for {limit:g} s")
            await anyio.sleep(left)

    def result(self) -> TurnResult:
        """How it went; for after `over`."""
        if self.is_cancelled:
            return TurnResult(ok=True, stop_reason="cancelled", usage=self.usage)
        if self.error:
            return TurnResult(ok=False, error=fault_of(self.error), usage=self.usage)
        return TurnResult(ok=True, stop_reason=self.stop_reason, usage=self.usage)


def fault_of(error: CoderError) -> Fault:
    """The error as it is kept with a task."""
    return Fault(code=error.stable_code, message=str(error))


def needs_login(error: CoderError) -> bool:
    """Whether the agent has answered that it wants a login first."""
    return error.stable_code == AuthRequired.code
