"""A host with one session open, for tests below the API: send prompts, wait for what comes of them."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import orjson

from coder.host import Host, open_host
from coder.model.changes import Change, ChangeStatus, Hunk, HunkChoice, Target
from coder.model.decisions import Pick
from coder.model.events import AgentEvent, Record, Text
from coder.model.sessions import Session
from coder.model.tasks import ENDED, Task
from coder.model.values import Json
from coder.protocol import NewProject, NewTask, ProviderPatch
from coder.settings import Settings, load_settings
from coder.testing.repositories import make_repository

PATIENCE = 30.0
NO_VARIABLES: Mapping[str, str] = {}


@dataclass
class Room:
    """One session of an open host. Every wait is bounded."""

    host: Host
    repository: Path
    session: Session

    @property
    def worktree(self) -> Path:
        assert self.session.worktree_path is not None
        return Path(self.session.worktree_path)

    async def add_provider(self, id: str, command: Sequence[str], env: Mapping[str, str] = NO_VARIABLES) -> None:
        """A custom agent in the override file."""
        override: dict[str, Json] = {
            "extends": "acp",
            "label": id.title(),
            "command": list(command),
            "env": dict(env),
        }
        patch = ProviderPatch(providers={id: override})
        await self.host.providers.patch(patch, merge_fields=False, may_write_code=True)

    async def submit(self, text: str, agent: str = "demo", **fields: object) -> Task:
        """Accept a prompt without waiting for its turn."""
        wish = NewTask.model_validate({"session_id": self.session.id, "agent": agent, "input": text, **fields})
        return await self.host.dispatcher.submit(wish)

    async def prompt(self, text: str, agent: str = "demo", **fields: object) -> Task:
        """A whole turn; the ended task."""
        return await self.ended(await self.submit(text, agent, **fields))

    async def ended(self, task: Task) -> Task:
        """The task once its end is recorded."""
        await self.seen(lambda record: record.event.type == "turn_ended" and record.event.task_id == task.id)
        found = await self.host.dispatcher.get(task.id)
        assert found.state in ENDED
        return found

    async def seen(self, wanted: Callable[[Record], bool], after: int = 0) -> Record:
        """The first record after `after` that fits, as a viewer receives it."""
        with anyio.fail_after(PATIENCE):
            async with self.host.journal.follow(self.session.id, after) as follower:
                while True:
                    for encoded in (await follower.receive()).encoded:
                        record = Record.model_validate(orjson.loads(encoded))
                        if wanted(record):
                            return record

    async def saw(self, type: str, after: int = 0) -> Record:
        """The first record of this event type after `after`."""
        return await self.seen(lambda record: record.event.type == type, after)

    async def records(self, after: int = 0) -> list[Record]:
        return await self.host.journal.page(self.session.id, after, 500)

    async def events(self) -> list[AgentEvent]:
        return [record.event for record in await self.records()]

    async def text_of(self, task: Task) -> str:
        """What the agent said in the turn."""
        found = [record.event for record in await self.records() if record.task_id == task.id]
        return "".join(event.text for event in found if isinstance(event, Text))

    async def apply(
        self, *paths: str, hunks: Sequence[HunkChoice] | None = None, target: Target = "checkout"
    ) -> Sequence[Change]:
        """Apply the pending changes of these files, of all when none is named."""
        return await self.host.decisions.apply(await self._picks(paths, hunks), by="test", target=target)

    async def reject(
        self, *paths: str, hunks: Sequence[HunkChoice] | None = None, reason: str | None = None
    ) -> Sequence[Change]:
        """Reject the pending changes of these files, of all when none is named."""
        return await self.host.decisions.reject(await self._picks(paths, hunks), by="test", reason=reason)

    async def revert(self, *changes: Change) -> Sequence[Change]:
        """Take applied changes out again."""
        return await self.host.decisions.revert([change.id for change in changes], by="test")

    async def change(self, path: str) -> Change:
        """The pending change of a file."""
        return next(change for change in await self.changes() if change.file_path == path)

    async def hunks(self, path: str) -> Sequence[Hunk]:
        """The hunks of the pending change of a file."""
        return (await self.host.changes.get((await self.change(path)).id)).hunks

    async def _picks(self, paths: Sequence[str], hunks: Sequence[HunkChoice] | None) -> list[Pick]:
        chosen = None if hunks is None else tuple(hunks)
        found = [change for change in await self.changes() if not paths or change.file_path in paths]
        return [Pick(change_id=change.id, hunks=chosen) for change in found]

    async def changes(self, status: ChangeStatus | None = ChangeStatus.PENDING) -> Sequence[Change]:
        page = await self.host.changes.list(self.session.id, status, None, 500)
        return sorted(page.items, key=lambda change: change.file_path)


def room_settings(home: Path, database_url: str, **fields: object) -> Settings:
    """Settings that read nothing of the machine's own configuration, for agents whose processes tests look at."""
    usual: dict[str, object] = {
        "home": home,
        "database_url": database_url,
        "port": "auto",
        "providers_path": home / "coder-providers.json",
        "sandbox": "off",
        "spare_sessions": 0,
    }
    return load_settings(**usual | fields)


@asynccontextmanager
async def open_room(folder: Path, database_url: str, **fields: object) -> AsyncGenerator[Room]:
    """A host on the database with a repository, a project and a session below `folder`."""
    async with open_host(room_settings(folder / "home", database_url, **fields), "token") as host:
        repository = make_repository(folder / "repository")
        project = await host.projects.register(NewProject(repo_path=str(repository)))
        yield Room(host, repository, await host.sessions.open(project.id, None, None))
