"""Setup files: read as a commit has them, understood or refused in words, and what they make of the environment."""

import hashlib
import string
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from coder.errors import CoderError
from coder.model.setups import INCLUDE_FILE, SETUP_FILE, Recipe, Setup, SetupState
from coder.model.tasks import Fault
from coder.worktrees.committed import read_committed

FILE_LIMIT = 64 * 1024
"""Bytes of the largest setup file."""
BROKEN = "setup_file_invalid"


async def read_setup(repo: Path, commit: str, session_id: str) -> Setup | None:
    """What the commit's setup file asks for; None where it has none. Never raises for what the file holds.

    The state is `untrusted` where code could run, `pending` where only files are copied, `failed` where the file is
    broken.
    """
    try:
        files = await read_committed(repo, commit, (SETUP_FILE, INCLUDE_FILE), size_limit=FILE_LIMIT)
    except CoderError as error:
        return _broken(session_id, SETUP_FILE, "", str(error))
    source = next((path for path in (SETUP_FILE, INCLUDE_FILE) if path in files), None)
    if source is None:
        return None
    digest = hashlib.sha256(files[source]).hexdigest()
    try:
        recipe = _recipe(files)
    except (ValueError, RecursionError) as error:
        return _broken(session_id, source, digest, _words(error))
    state = SetupState.UNTRUSTED if recipe.needs_trust else SetupState.PENDING
    return Setup(session_id=session_id, state=state, source=source, digest=digest, recipe=recipe)


def variables_of(recipe: Recipe, ports: Mapping[str, int], *, is_trusted: bool) -> dict[str, str]:
    """What the commands and the agents find in their environment beside the usual; ports need nobody's trust."""
    numbers = {name: str(port) for name, port in ports.items()}
    if not is_trusted:
        return numbers
    return {name: string.Template(text).safe_substitute(numbers) for name, text in recipe.env.items()} | numbers


def _recipe(files: Mapping[str, bytes]) -> Recipe:
    recipe = Recipe.model_validate(tomllib.loads(files[SETUP_FILE].decode())) if SETUP_FILE in files else Recipe()
    if recipe.include is not None or INCLUDE_FILE not in files:
        return recipe
    lines = files[INCLUDE_FILE].decode().splitlines()
    patterns = tuple(line for line in lines if line.strip() and not line.startswith("#"))
    return Recipe.model_validate(recipe.model_dump() | {"include": patterns})


def _broken(session_id: str, source: str, digest: str, words: str) -> Setup:
    error = Fault(code=BROKEN, message=f"{source} cannot be used: {words}")
    return Setup(session_id=session_id, state=SetupState.FAILED, source=source, digest=digest, error=error)


def _words(error: ValueError | RecursionError) -> str:
    match error:
        case ValidationError():
            faults = error.errors(include_url=False, include_context=False, include_input=False)[:5]
            return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in faults)
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return str(error)
