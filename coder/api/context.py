"""What a request or socket carries besides itself: the host it is addressed to and who is calling."""

from dataclasses import dataclass
from typing import Literal, cast

from starlette.requests import HTTPConnection
from starlette.types import Scope

from coder.host import Host

_CALLER = "coder.caller"


@dataclass(frozen=True)
class Caller:
    """Who proved to hold the token, and how. There is one token, and it may do everything."""

    way: Literal["token", "cookie", "ticket"]

    @property
    def name(self) -> str:
        """What decisions are recorded under."""
        return "api" if self.way == "token" else "pane"


def host_of(connection: HTTPConnection) -> Host:
    """The host behind the application: the only place that reaches for it."""
    return cast(Host, connection.app.state.host)


def set_caller(scope: Scope, caller: Caller | None) -> None:
    """Note who is calling, for the rest of this request."""
    scope[_CALLER] = caller


def caller_of(connection: HTTPConnection) -> Caller:
    """Who is calling; only open routes are reached without one, and they do not ask."""
    return cast(Caller, connection.scope[_CALLER])
