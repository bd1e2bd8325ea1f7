"""Finding out about providers: tier 1 (is the program there, which version), tier 2 (a cold probe of the agent)."""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from coder.errors import AuthRequired, CoderError
from coder.model.providers import (
    AuthMethod,
    AvailableAgent,
    ProbeResult,
    Provider,
)
from coder.model.values import now
from coder.providers.presence import (
    FindProgram,
    installed_at,
    is_same_launch,
    launch_digest,
    presence,
    program_stamp,
)
from coder.store import available_agents
from coder.store.database import Store

logger = logging.getLogger(__name__)

Probe = Callable[[Provider], Awaitable[ProbeResult]]
"""Starts the agent cold and asks it. The provider's command names its program by absolute path."""

ReadVersion = Callable[[Provider], Awaitable[str | None]]
"""What the provider's program prints for its version arguments, if anything."""

STDERR_LIMIT = 8192
MESSAGE_LIMIT = 2000

_VERSION = re.compile(r"\bv?(\d+\.\d+(?:\.\d+)*(?:[-+][0-9A-Za-z.+-]+)?)")


@dataclass(frozen=True)
class Limits:
    """Seconds, unless the name says otherwise."""

    probes: int = 2
    """How many agents are probed at the same time."""
    versions: int = 2
    lookup: float = 2
    version: float = 15
    probe: float = 180
    refresh: float = 30
    """How long a forced snapshot waits for its probes."""
    retry: float = 300
    """A probe that failed, or found nobody signed in, is tried again after this at the latest."""


@dataclass(frozen=True)
class Known:
    """What is known of one provider. `row` is the last probe as it is stored."""

    path: str | None = None
    version: str | None = None
    stamp: tuple[int, ...] | None = None
    """Of the program as it is now."""
    version_stamp: tuple[int, ...] | None = None
    """Of the program whose version was read."""
    row: AvailableAgent | None = None
    stderr: str = ""
    refusals: int = 0
    """How often the agent at work has wanted a login first."""

    @property
    def probe(self) -> ProbeResult | None:
        return self.row.probe if self.row else None

    @property
    def shown_version(self) -> str | None:
        return self.version or (self.probe.agent_version if self.probe else None)


@dataclass
class _Work:
    """One provider's background work. `wanted`: somebody asked for a probe that has not begun."""

    done: anyio.Event = field(default_factory=anyio.Event)
    wanted: bool = False
    is_probing: bool = False


class Probes:
    """Keeps what is known of providers fresh, in the background. At most one piece of work per provider."""

    def __init__(
        self,
        group: TaskGroup,
        *,
        store: Store,
        probe: Probe,
        find: FindProgram,
        version: ReadVersion,
        environment: Mapping[str, str],
        ttl_ms: int,
        limits: Limits,
        changed: Callable[[], None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._group = group
        self._store = store
        self._probe = probe
        self._find = find
        self._read_version = version
        self._environment = environment
        self._ttl = timedelta(milliseconds=ttl_ms)
        self._limits = limits
        self._changed = changed
        self._clock = clock
        self._providers: Mapping[str, Provider] = {}
        self._known: dict[str, Known] = {}
        self._work: dict[str, _Work] = {}
        self._probe_slots = anyio.Semaphore(limits.probes)
        self._version_slots = anyio.Semaphore(limits.versions)

    async def load(self) -> None:
        """Take over what earlier runs found."""
        async with self._store.connection() as connection:
            rows = await available_agents.all_agents(connection)
        self._known = {row.id: Known(version=row.version, row=row) for row in rows}

    def known(self, id: str) -> Known:
        """What is known at this moment; nothing, for an id never looked at."""
        return self._known.get(id) or Known()

    def is_probing(self, id: str) -> bool:
        """Whether its probe is under way or waits for its turn."""
        work = self._work.get(id)
        return work is not None and work.is_probing

    def adopt(self, providers: Mapping[str, Provider]) -> None:
        """These are the providers now. What is known of one that is launched in another way than before is dropped."""
        before, self._providers = self._providers, providers
        for id, provider in providers.items():
            if id not in before or is_same_launch(before[id], provider):
                continue
            self._known[id] = Known()
            if work := self._work.get(id):
                work.wanted = True

    async def look(self, providers: Iterable[Provider]) -> None:
        """Tier 1, the part that starts nothing: where is each program. Keeps what it knew when the disk hangs."""
        wanted = tuple(providers)
        with anyio.move_on_after(self._limits.lookup):
            found = await to_thread.run_sync(self._find_all, wanted, abandon_on_cancel=True)
            for provider, (path, stamp) in zip(wanted, found, strict=True):
                known = self.known(provider.id)
                before = known.path or (known.row.install_path if known.row else None)
                version = known.version if path == before else None
                self._known[provider.id] = replace(known, path=path, stamp=stamp, version=version)

    def _find_all(self, providers: tuple[Provider, ...]) -> list[tuple[str | None, tuple[int, ...] | None]]:
        paths = [presence(provider, self._find) for provider in providers]
        return [(path, program_stamp(path) if path else None) for path in paths]

    def schedule(self, provider: Provider, *, force: bool = False) -> anyio.Event | None:
        """Have the provider's version and probe freshened; returns what is set when they are, if there is work."""
        known = self.known(provider.id)
        if not provider.enabled or known.path is None:
            return None
        work = self._work.get(provider.id)
        is_due = force or self._is_due(provider, known)
        if work is None and not is_due and not self._needs_version(provider, known):
            return None
        if work is None:
            work = self._work[provider.id] = _Work(wanted=is_due, is_probing=is_due)
            self._group.start_soon(self._run, provider.id, work, name=f"providers: look at {provider.id}")
        elif force:
            work.wanted = work.is_probing = True
        return work.done

    def _needs_version(self, provider: Provider, known: Known) -> bool:
        return bool(provider.version_args) and known.path is not None and known.stamp != known.version_stamp

    def _is_due(self, provider: Provider, known: Known) -> bool:
        row = known.row
        if row is None or row.probe is None or row.probed_at is None:
            return True
        is_other = row.install_path != known.path or row.probe.launched_as != launch_digest(provider, self._environment)
        is_updated = known.version is not None and row.version is not None and row.version != known.version
        age = self._clock() - row.probed_at
        # another probe that gets a session opened would not prove that somebody has signed in meanwhile
        is_poor = row.probe.error is not None or (row.probe.signed_in is False and not row.probe.refused_prompt)
        return is_other or is_updated or age > self._ttl or (is_poor and age > timedelta(seconds=self._limits.retry))

    async def _run(self, id: str, work: _Work) -> None:
        try:
            while await self._step(id, work):
                pass
        except Exception:
            logger.exception("looking at a provider failed", extra={"agent": id})
        finally:
            self._work.pop(id, None)
            work.done.set()
            self._changed()

    async def _step(self, id: str, work: _Work) -> bool:
        """One round of version and probe; True when another was asked for meanwhile."""
        provider = self._providers.get(id)
        if provider is None or not provider.enabled or self.known(id).path is None:
            return False
        await self.learn_version(provider)
        if not work.wanted and not self._is_due(provider, self.known(id)):
            return False
        work.is_probing = True
        self._changed()
        async with self._probe_slots:
            provider = self._providers.get(id)
            path = self.known(id).path
            if provider is None or not provider.enabled or path is None:
                return False
            work.wanted = False
            refusals = self.known(id).refusals
            result, stderr = await self._ask(installed_at(provider, path))
        if self._is_current(provider):
            known = self.known(id)
            if known.refusals != refusals and known.probe is not None and result.signed_in:
                # the agent at work has refused meanwhile: it knows better than a session that could be opened
                probe = known.probe
                told = {"signed_in": probe.signed_in, "refused_prompt": probe.refused_prompt}
                result = result.model_copy(update={**told, "auth_methods": probe.auth_methods})
            await self._learn_probe(provider, path, result, stderr)
        return work.wanted

    def _is_current(self, provider: Provider) -> bool:
        present = self._providers.get(provider.id)
        return present is not None and is_same_launch(present, provider)

    async def learn_version(self, provider: Provider) -> None:
        """Ask the program for its version unless it is the one that was asked last time."""
        before = self.known(provider.id)
        if before.path is None or not self._needs_version(provider, before):
            return
        version = None
        async with self._version_slots:
            with anyio.move_on_after(self._limits.version):
                version = await self._version_of(provider, before.path)
        known = self.known(provider.id)
        if known.path == before.path and self._is_current(provider):
            version = version or known.version
            self._known[provider.id] = replace(known, version_stamp=before.stamp, version=version)
            self._changed()

    async def _version_of(self, provider: Provider, path: str) -> str | None:
        try:
            printed = await self._read_version(installed_at(provider, path))
        except Exception as error:
            logger.info("no version: %s", error, extra={"agent": provider.id})
            return None
        found = _VERSION.search(printed or "")
        return found[1] if found else None

    async def _ask(self, provider: Provider) -> tuple[ProbeResult, str]:
        """Probe, whatever comes of it; with the agent's last words on stderr where it failed."""
        try:
            with anyio.fail_after(self._limits.probe):
                return await self._probe(provider), ""
        except TimeoutError:
            return ProbeResult(error=f"did not answer within {self._limits.probe:g} s"), ""
        except AuthRequired as error:
            return ProbeResult(signed_in=False, auth_methods=ways_to_sign_in(error)), _stderr(error)
        except CoderError as error:
            logger.info("probe failed: %s", error, extra={"agent": provider.id})
            return ProbeResult(error=str(error)[:MESSAGE_LIMIT] or error.stable_code), _stderr(error)
        except Exception as error:
            logger.exception("probe broke", extra={"agent": provider.id})
            return ProbeResult(error=f"the probe broke: {type(error).__name__}"), ""

    async def learn_refusal(self, provider: Provider, methods: tuple[AuthMethod, ...], *, of_prompt: bool) -> None:
        """The agent at work wants a login first: nobody is signed in, whatever a probe has found."""
        await self.look([provider])
        known = self.known(provider.id)
        self._known[provider.id] = replace(known, refusals=known.refusals + 1)
        probe = known.probe or ProbeResult()
        update = {"signed_in": False, "refused_prompt": of_prompt, "error": None}
        found = probe.model_copy(update={**update, "auth_methods": methods or probe.auth_methods})
        await self._keep(provider, known.path, found, known.stderr)

    async def learn_success(self, provider: Provider) -> None:
        """The agent has worked: somebody is signed in. A probe that could not see what it offers is repeated."""
        known = self.known(provider.id)
        if known.probe is None or known.probe.signed_in is not False:
            return
        found = known.probe.model_copy(update={"signed_in": True, "refused_prompt": False})
        await self._keep(provider, known.path, found, known.stderr)
        if not found.models:
            self.schedule(provider, force=True)

    async def _learn_probe(self, provider: Provider, path: str, result: ProbeResult, stderr: str) -> None:
        known = self.known(provider.id)
        if result.error is not None and known.probe is not None:
            result = known.probe.model_copy(update={"error": result.error})
        await self._keep(provider, path, result, stderr)

    async def _keep(self, provider: Provider, path: str | None, result: ProbeResult, stderr: str) -> None:
        known = self.known(provider.id)
        result = result.model_copy(update={"launched_as": launch_digest(provider, self._environment)})
        row = AvailableAgent(
            id=provider.id, install_path=path, version=known.version, probe=result, probed_at=self._clock()
        )
        self._known[provider.id] = replace(known, row=row, stderr=stderr)
        self._changed()
        try:
            async with self._store.connection() as connection:
                await available_agents.upsert(connection, row)
        except CoderError as error:  # costs one more probe after the next start
            logger.warning("a probe result could not be stored: %s", error, extra={"agent": provider.id})


def ways_to_sign_in(error: AuthRequired) -> tuple[AuthMethod, ...]:
    """What the agent has listed when it refused."""
    found = error.fields.get("auth_methods")
    methods = cast("Iterable[object]", found) if isinstance(found, list | tuple) else ()
    return tuple(method for method in methods if isinstance(method, AuthMethod))


def _stderr(error: CoderError) -> str:
    found = error.fields.get("stderr")
    return found[-STDERR_LIMIT:] if isinstance(found, str) else ""
