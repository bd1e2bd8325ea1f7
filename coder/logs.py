"""Log lines, as text or JSON, each with the session, agent and task that it is about."""

import json
import logging
import math
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

LogFormat = Literal["text", "json"]

_NOTHING: Mapping[str, str] = {}
_about: ContextVar[Mapping[str, str]] = ContextVar("what log lines are about", default=_NOTHING)
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def about(**ids: str | None) -> Generator[None]:
    """Everything that is logged in this context, and in tasks started in it, names these ids and no other ones."""
    token = _about.set({name: id for name, id in ids.items() if id is not None})
    try:
        yield
    finally:
        _about.reset(token)


def set_up(level: str, format: LogFormat) -> None:
    """Write the whole process's log to standard error."""
    writer = logging.StreamHandler()
    writer.setFormatter(JsonLines() if format == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[writer], force=True)
    logging.getLogger("asyncio").addFilter(Seldom())
    # one line per connection is the server's idea of news
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def facts_of(record: logging.LogRecord) -> dict[str, object]:
    """What the line is about: the ids of its context, and what it was given as `extra`, which wins."""
    given = {name: value for name, value in vars(record).items() if name not in _OWN}
    return {**_about.get(), **given}


class TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{name}={value}" for name, value in facts_of(record).items())
        line = super().formatMessage(record)
        return f"{line} [{facts}]" if facts else line


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in facts_of(record).items() if name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Seldom(logging.Filter):
    """Lets a line through that was not there a moment ago: out of files, asyncio repeats itself without end."""

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        head = record.getMessage().partition("\n")[0]
        moment = time.monotonic()
        if moment - self._last.get(head, -math.inf) < self._seconds:
            return False
        if len(self._last) > 100:
            self._last.clear()
        self._last[head] = moment
        return True
