"""What a scripted agent remembers between its processes: one small JSON file per conversation."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from coder.testing.wire import Fields, Json, fields, items, string

HISTORY_LIMIT = 400


def state_folder(environment: Mapping[str, str]) -> Path:
    """Where conversations and the login mark live: the private state folder, else the temp folder."""
    if base := environment.get("XDG_STATE_HOME"):
        return Path(base) / "coder-demo"
    if home := environment.get("HOME"):
        return Path(home) / ".local" / "state" / "coder-demo"
    return Path(environment.get("TMPDIR", "/tmp")) / f"coder-demo-{os.getuid()}"


class Conversation:
    """One agent session. `save` makes it survive the process."""

    def __init__(self, folder: Path, id: str, cwd: str) -> None:
        self.id = id
        self.cwd = cwd
        self.prompts = 0
        self.mode = "ask"
        self.model = "demo-small"
        self.thinking = "normal"
        self.verbose = False
        self.replays_late = False
        self.history: list[Fields] = []
        self._path = folder / f"{id}.json"

    def remember(self, update: Fields) -> None:
        """Keep an update for a later replay, as long as there are not too many."""
        if len(self.history) < HISTORY_LIMIT:
            self.history.append(update)

    def save(self) -> None:
        state: dict[str, Json] = {
            "prompts": self.prompts,
            "mode": self.mode,
            "model": self.model,
            "thinking": self.thinking,
            "verbose": self.verbose,
            "replays_late": self.replays_late,
            "history": self.history,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._path.with_suffix(".tmp")
        fresh.write_text(json.dumps(state))
        fresh.replace(self._path)


def open_conversation(folder: Path, id: str, cwd: str) -> Conversation | None:
    """The stored conversation, None when there is none of that id."""
    name = Path(id).name
    path = folder / f"{name}.json"
    if name != id or not path.is_file():
        return None
    state = fields(json.loads(path.read_text()))
    conversation = Conversation(folder, id, cwd)
    prompts = state.get("prompts")
    conversation.prompts = prompts if isinstance(prompts, int) else 0
    conversation.mode = string(state.get("mode"))
    conversation.model = string(state.get("model"))
    conversation.thinking = string(state.get("thinking"))
    conversation.verbose = state.get("verbose") is True
    conversation.replays_late = state.get("replays_late") is True
    conversation.history = [fields(update) for update in items(state.get("history"))]
    return conversation
