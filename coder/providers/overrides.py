"""The override file: what a user says about providers, read without ever failing, written without ever tearing.

`{"providers": {id: override}}`. The built-in catalogue has the same format.
"""

import os
import re
import stat
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, AliasChoices, Field, StrictBool, StrictInt, ValidationError

from coder.errors import CoderError, Conflict, InvalidInput
from coder.json_values import check_json
from coder.model.providers import Damage, Mode, Model, ThinkingOption
from coder.model.sandboxes import SandboxMode
from coder.model.values import Input, Json

FILE_LIMIT = 1024 * 1024
ENTRY_LIMIT = 200

HARMLESS_FIELDS = frozenset({"label", "description", "models", "additional_models", "modes", "enabled", "order"})
"""Everything else says what is run, with which environment and rights, or what a person is told to run."""

_SYNONYMS = {"additionalModels": "additional_models"}
_ID = re.compile(r"[a-z][a-z0-9-]{0,63}")


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


Line = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_no_nul)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
EnvValue = Annotated[str, Field(max_length=32_768), AfterValidator(_no_nul)]
Words = Annotated[tuple[Line, ...], Field(max_length=100)]
Folder = Annotated[Line, Field(pattern=r"^(~?/|\{python\}$)")]
Folders = Annotated[tuple[Folder, ...], Field(max_length=100)]


class Choice(Input):
    """What thinking options and models have in common; the label defaults to the id."""

    id: Line
    label: Line | None = None
    description: Line | None = None
    is_default: StrictBool = Field(default=False, validation_alias=AliasChoices("is_default", "isDefault"))


class ModelEntry(Choice):
    thinking_options: tuple[Choice, ...] = Field(
        default=(), max_length=50, validation_alias=AliasChoices("thinking_options", "thinkingOptions")
    )

    def resolved(self) -> Model:
        return Model(
            id=self.id,
            label=self.label or self.id,
            description=self.description,
            is_default=self.is_default,
            thinking_options=tuple(
                ThinkingOption(
                    id=one.id, label=one.label or one.id, description=one.description, is_default=one.is_default
                )
                for one in self.thinking_options
            ),
        )


class ModeEntry(Input):
    id: Line
    label: Line | None = None
    description: Line | None = None
    is_unattended: StrictBool = Field(default=False, validation_alias=AliasChoices("is_unattended", "isUnattended"))

    def resolved(self) -> Mode:
        return Mode(
            id=self.id, label=self.label or self.id, description=self.description, is_unattended=self.is_unattended
        )


Models = Annotated[tuple[ModelEntry, ...], Field(max_length=1000)]


class Override(Input):
    """One entry. A field that is absent or null leaves what the built-in entry says."""

    extends: Literal["acp", "opencode"] | None = None
    label: Line | None = None
    description: Annotated[str, Field(max_length=4096)] | None = None
    command: Annotated[Words, Field(min_length=1)] | None = None
    env: Annotated[dict[EnvName, EnvValue], Field(max_length=200)] | None = None
    env_names: Annotated[tuple[EnvName, ...], Field(max_length=200)] | None = None
    version_args: Words | None = None
    models: Models | None = None
    additional_models: Models | None = Field(
        default=None, validation_alias=AliasChoices("additional_models", "additionalModels")
    )
    modes: Annotated[tuple[ModeEntry, ...], Field(max_length=100)] | None = None
    enabled: StrictBool | None = None
    order: Annotated[StrictInt, Field(ge=-1_000_000, le=1_000_000)] | None = None
    offer_fs: StrictBool | None = None
    offer_terminal: StrictBool | None = None
    protocol: Literal[1, 2] | None = None
    share_server: StrictBool | None = None
    sandbox: SandboxMode | None = None
    state_folders: Folders | None = None
    locked_files: Folders | None = None
    copied_files: Folders | None = None
    read_folders: Folders | None = None
    install_hint: Line | None = None
    login_command: Annotated[Words, Field(min_length=1)] | None = None


@dataclass(frozen=True)
class OverrideFile:
    """The file at one moment. `document` is None when it cannot be read as a whole, and then nobody may write it."""

    path: Path
    stamp: tuple[int, ...] | None = None
    document: dict[str, Json] | None = field(default_factory=lambda: {"providers": {}})
    overrides: Mapping[str, Override] = field(default_factory=dict[str, Override])
    damage: tuple[Damage, ...] = ()

    @property
    def raw(self) -> dict[str, Json]:
        """The entries as they are written, usable or not."""
        entries = (self.document or {}).get("providers")
        return entries if isinstance(entries, dict) else {}


def parse_override(id: str, raw: Json, builtin: Collection[str]) -> Override:
    """Check one entry. The message of a refusal names fields, never their values.

    Raises:
        InvalidInput: it breaks a rule.
    """
    if not _ID.fullmatch(id):
        raise InvalidInput("an id starts with a lower-case letter and has only a-z, 0-9 and - (at most 64)")
    if not isinstance(raw, dict):
        raise InvalidInput("must be an object")
    try:
        override = Override.model_validate(raw)
    except ValidationError as error:
        faults = (f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise InvalidInput("; ".join(faults)) from None
    if id not in builtin:
        _require_custom(override)
    if override.command and "/" in override.command[0] and not override.command[0].startswith(("/", "~/")):
        raise InvalidInput("command: the program is a bare name, an absolute path or starts with ~/")
    return override


def _require_custom(override: Override) -> None:
    missing = [name for name in ("extends", "label", "command") if getattr(override, name) is None]
    if missing:
        raise InvalidInput(
            f'a custom provider needs extends ("acp", "opencode"), label and command; missing: {", ".join(missing)}'
        )


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """What changes when the file does; None when there is none. Blocks."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def read_overrides(path: Path, builtin: Collection[str]) -> OverrideFile:
    """Read the file; whatever is wrong with it ends up in `damage`. Never raises. Blocks."""
    stamp = stamp_of(path)
    try:
        content = _read(path)
    except FileNotFoundError:
        return OverrideFile(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return OverrideFile(path, stamp, None, damage=(Damage(id=None, message=f"cannot be read: {reason}"),))
    try:
        document = check_json(content, allows_nul=True)
    except InvalidInput as error:
        return OverrideFile(path, stamp, None, damage=(Damage(id=None, message=f"cannot be used: {error}"),))
    if not isinstance(document, dict) or not isinstance(document.get("providers", {}), dict):
        shape = 'must be an object of the form {"providers": {id: override}}'
        return OverrideFile(path, stamp, None, damage=(Damage(id=None, message=shape),))
    return _salvage(path, stamp, document, builtin)


def _read(path: Path) -> bytes:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a regular file")
    if found.st_size > FILE_LIMIT:
        raise ValueError(f"it is larger than {FILE_LIMIT} bytes")
    return path.read_bytes()


def _salvage(
    path: Path, stamp: tuple[int, ...] | None, document: dict[str, Json], builtin: Collection[str]
) -> OverrideFile:
    damage = [
        Damage(id=None, message=f"unknown key {key!r} beside providers is ignored")
        for key in document
        if key not in ("providers", "$schema")
    ]
    overrides: dict[str, Override] = {}
    entries = document.get("providers")
    for id, raw in entries.items() if isinstance(entries, dict) else ():
        try:
            overrides[id] = parse_override(id, raw, builtin)
        except InvalidInput as error:
            damage.append(Damage(id=id, message=str(error)))
    return OverrideFile(path, stamp, document, overrides, tuple(damage))


def patched(raw: Mapping[str, Json], changes: Mapping[str, Mapping[str, Json] | None], merge: bool) -> dict[str, Json]:
    """The entries after a patch: each id replaced whole, or with `merge` field by field; null removes."""
    entries = dict(raw)
    for id, change in changes.items():
        if change is None:
            entries.pop(id, None)
        elif merge:
            stored = entries.get(id)
            entries[id] = _merged(stored if isinstance(stored, dict) else {}, change)
        else:
            entries[id] = dict(change)
    return entries


def _merged(stored: Mapping[str, Json], change: Mapping[str, Json]) -> dict[str, Json]:
    named = {_SYNONYMS.get(key, key) for key in change}
    kept = {key: value for key, value in stored.items() if _SYNONYMS.get(key, key) not in named}
    return kept | {key: value for key, value in change.items() if value is not None}


def guarded_fields(raw: Json) -> dict[str, Json]:
    """The part of an entry that decides what is run."""
    if not isinstance(raw, dict):
        return {}
    return {
        key: value for key, value in raw.items() if _SYNONYMS.get(key, key) not in HARMLESS_FIELDS and value is not None
    }


def save_overrides(path: Path, document: Mapping[str, Json], expected: tuple[int, ...] | None) -> None:
    """Replace the file as a whole (mode 0600), making its folder where needed. Blocks.

    Raises:
        Conflict: the file is no longer the one that `expected` is the stamp of.
        CoderError: `save_failed`; the old file is still there.
    """
    target = Path(os.path.realpath(path))
    try:
        content = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as error:
        raise InvalidInput(f"cannot be written as JSON: {error}") from error
    if len(content) > FILE_LIMIT:
        raise InvalidInput(f"the file would be larger than {FILE_LIMIT} bytes")
    if stamp_of(path) != expected:
        raise Conflict(f"{path} was changed meanwhile; nothing was written")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content)
    except OSError as error:
        raise CoderError(f"{path} could not be saved: {error.strerror}", code="save_failed") from error


def _replace(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
