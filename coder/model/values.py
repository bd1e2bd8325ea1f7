"""What every model value shares: frozen, strict about unknown keys, and how ids and times are made."""

import os
import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, PlainSerializer

IdKind = Literal["prj", "ses", "tsk", "chg", "prm", "dec", "cpt", "cmt"]


class Value(BaseModel):
    """A frozen value that crosses a border. Unknown keys are kept out of input and ignored in stored JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class Input(BaseModel):
    """A body or frame from outside: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _utc(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(_utc, return_type=str, when_used="json")]
"""ISO 8601 in UTC with milliseconds on the wire."""

Json = JsonValue


def new_id(kind: IdKind) -> str:
    """An opaque id that sorts by the time it was made (48 bits of milliseconds, 80 random bits, hex)."""
    return f"{kind}_{int(time.time() * 1000):012x}{os.urandom(10).hex()}"


def short_id(id: str) -> str:
    """The random tail of an id: what a branch or folder is named after."""
    return id[-10:]


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
