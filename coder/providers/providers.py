"""Providers: the door of this room. Resolved entries, what is known of them, and changes to the override file."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import anyio
from anyio import to_thread

from coder.errors import AgentUnavailable, Conflict, Forbidden, InvalidInput, NotFound
from coder.model.providers import AuthMethod, Diagnostic, Provider, ProviderConfig, ProviderSnapshot
from coder.model.sandboxes import SandboxKind
from coder.model.values import Json, now
from coder.protocol import ProviderPatch
from coder.providers.diagnosis import diagnose
from coder.providers.overrides import (
    ENTRY_LIMIT,
    guarded_fields,
    parse_override,
    patched,
    save_overrides,
    stamp_of,
)
from coder.providers.presence import FindProgram, installed_at, presence
from coder.providers.probes import Limits, Probe, Probes, ReadVersion
from coder.providers.registry import Registry, load_registry
from coder.providers.snapshot import snapshot_row, way_to_sign_in
from coder.store.database import Store

logger = logging.getLogger(__name__)

FindSandbox = Callable[[Provider], Awaitable[SandboxKind | None]]

MASK = "********"
"""Shown in place of the value of a variable; written back, it stands for the stored value."""


@asynccontextmanager
async def open_providers(
    path: Path,
    *,
    store: Store,
    probe: Probe,
    find: FindProgram,
    version: ReadVersion,
    ttl_ms: int,
    environment: Mapping[str, str],
    sandbox: FindSandbox,
    on_change: Callable[[], None] | None = None,
    limits: Limits | None = None,
    clock: Callable[[], datetime] = now,
) -> AsyncGenerator["Providers"]:
    """Read the catalogue, the override file at `path` and stored probes. Leaving ends all background work.

    `sandbox` says what a provider's next agent is started in. `on_change` is called whenever a row of the snapshot may
    look different.
    """
    registry = await to_thread.run_sync(load_registry, path, environment)
    limits = limits or Limits()
    changed = _guarded(on_change)
    async with anyio.create_task_group() as group:
        probes = Probes(
            group,
            store=store,
            probe=probe,
            find=find,
            version=version,
            environment=environment,
            ttl_ms=ttl_ms,
            limits=limits,
            changed=changed,
            clock=clock,
        )
        await probes.load()
        try:
            yield Providers(
                registry, probes, find=find, environment=environment, sandbox=sandbox, limits=limits, changed=changed
            )
        finally:
            group.cancel_scope.cancel()


class Providers:
    """Every provider by id. The async doors read the override file again when it was changed by hand."""

    def __init__(
        self,
        registry: Registry,
        probes: Probes,
        *,
        find: FindProgram,
        environment: Mapping[str, str],
        sandbox: FindSandbox,
        limits: Limits,
        changed: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._probes = probes
        self._find = find
        self._environment = environment
        self._sandbox = sandbox
        self._limits = limits
        self._changed = changed
        self._lock = anyio.Lock()
        self._adopt(registry)

    def get(self, id: str) -> Provider:
        """The resolved entry, usable or not.

        Raises:
            NotFound: there is no such provider.
        """
        provider = self._registry.providers.get(id)
        if provider is None:
            raise NotFound(f"no provider {id!r}", id=id)
        return provider

    def label(self, id: str) -> str:
        """What people call the provider; its id where it is not configured any more."""
        provider = self._registry.providers.get(id)
        return provider.label if provider else id

    def all(self) -> tuple[Provider, ...]:
        """Every provider, disabled ones included, in the order a person sees them."""
        return tuple(self._registry.providers.values())

    def require_usable(self, id: str) -> Provider:
        """The provider, ready to be started: its command names the program by absolute path.

        Raises:
            NotFound: there is no such provider. AgentUnavailable: it is disabled or not installed.
        """
        provider = self.get(id)
        if not provider.enabled:
            raise AgentUnavailable(f"{provider.label} is disabled; enable it in the provider settings", id=id)
        path = presence(provider, self._find)
        if path is None:
            program = provider.command[0]
            raise AgentUnavailable(f"{program} was not found; to install: {provider.install_hint}", id=id)
        return installed_at(provider, path)

    async def mark_signed_out(self, id: str, methods: tuple[AuthMethod, ...], *, of_prompt: bool) -> str:
        """The agent at work wants a login first: its row says so until a turn or a later probe succeeds.

        `of_prompt`: it had opened a session before, so that only a probe that a person asks for, or a rare one, counts.
        Returns what a person does to sign in, in words; empty where nothing is known of that.
        """
        provider = self._registry.providers.get(id)
        if provider is None:
            return ""
        await self._probes.learn_refusal(provider, methods, of_prompt=of_prompt)
        probe = self._probes.known(id).probe
        return way_to_sign_in(provider, probe.auth_methods if probe else ())

    async def mark_signed_in(self, id: str) -> None:
        """The agent has carried out a turn: a row that says nobody is signed in does so no longer."""
        if provider := self._registry.providers.get(id):
            await self._probes.learn_success(provider)

    async def snapshot(self, *, force: bool = False) -> tuple[ProviderSnapshot, ...]:
        """Every provider as it stands, at once; what is due for a probe says loading and is probed in the background.

        With `force` every usable provider is probed anew, and the answer waits for that, up to a deadline.
        """
        await self._reread()
        return await self._rows(self._registry.providers, force=force)

    async def refresh(self, ids: Iterable[str] | None = None) -> tuple[ProviderSnapshot, ...]:
        """Probe these (or all) anew; their rows when that is done, or at a deadline.

        Raises:
            NotFound: one of the ids is unknown; nothing is probed.
        """
        await self._reread()
        wanted = self._registry.providers if ids is None else {id: self.get(id) for id in ids}
        return await self._rows(wanted, force=True)

    async def _rows(self, ids: Iterable[str], *, force: bool) -> tuple[ProviderSnapshot, ...]:
        wanted = set(ids)
        providers = [provider for provider in self.all() if provider.id in wanted]
        await self._probes.look(providers)
        works = [self._probes.schedule(provider, force=force) for provider in providers]
        if force:
            with anyio.move_on_after(self._limits.refresh):
                for done in works:
                    if done is not None:
                        await done.wait()
            providers = [provider for provider in self.all() if provider.id in wanted]
            await self._probes.look(providers)
        return tuple([await self._row(provider) for provider in providers])

    async def _row(self, provider: Provider) -> ProviderSnapshot:
        id, sandbox = provider.id, await self._sandbox(provider)
        return snapshot_row(provider, self._probes.known(id), sandbox, is_probing=self._probes.is_probing(id))

    async def diagnostic(self, id: str) -> Diagnostic:
        """Everything that helps to find out why an agent does not work. Names variables, never shows their values.

        Raises:
            NotFound: there is no such provider.
        """
        await self._reread()
        provider = self.get(id)
        await self._probes.look([provider])
        await self._probes.learn_version(provider)
        return diagnose(provider, self._probes.known(id), self._environment)

    async def config(self) -> ProviderConfig:
        """The override file as it stands, with its damage; values of variables are masked."""
        await self._reread()
        return self._config()

    async def patch(self, body: ProviderPatch, *, merge_fields: bool, may_write_code: bool) -> ProviderConfig:
        """Change entries of the override file: validate, save, reload.

        Per id the override is replaced whole, or with `merge_fields` field by field; null removes.

        Raises:
            InvalidInput: a changed entry would be unusable. Forbidden: it would change what is run. Nothing is written.
            Conflict: the file is damaged as a whole (`providers_file_damaged`) or was changed meanwhile.
            CoderError: `save_failed`.
        """
        async with self._lock:
            await self._reread_locked()
            file = self._registry.file
            if file.document is None:
                faults = "; ".join(damage.message for damage in file.damage)
                message = f"{file.path} is damaged and is not overwritten: it {faults}. Repair or remove it first."
                raise Conflict(message, code="providers_file_damaged")
            changes = {id: change and _unmasked(id, change, file.raw.get(id)) for id, change in body.providers.items()}
            entries = patched(file.raw, changes, merge_fields)
            self._check(changes, entries)
            if not may_write_code:
                _check_guarded(changes, file.raw, entries)
            if entries != file.raw:
                document = {**file.document, "providers": entries}
                await to_thread.run_sync(save_overrides, file.path, document, file.stamp)
                await self._reload()
        return self._config()

    def _check(self, changes: Iterable[str], entries: Mapping[str, Json]) -> None:
        faults: list[dict[str, Json]] = []
        for id in changes:
            if id in entries:
                try:
                    parse_override(id, entries[id], self._registry.builtin)
                except InvalidInput as error:
                    faults.append({"id": id, "message": str(error)})
        if faults:
            raise InvalidInput(
                "; ".join(f"{fault['id']}: {fault['message']}" for fault in faults), errors=tuple(faults)
            )
        if len(entries) > ENTRY_LIMIT:
            raise InvalidInput(f"more than {ENTRY_LIMIT} entries")

    def _config(self) -> ProviderConfig:
        file = self._registry.file
        return ProviderConfig(
            path=str(file.path),
            providers={id: _masked(raw) for id, raw in file.raw.items()},
            damage=file.damage,
            builtin=self._registry.builtin,
        )

    async def _reread(self) -> None:
        async with self._lock:
            await self._reread_locked()

    async def _reread_locked(self) -> None:
        file = self._registry.file
        if await to_thread.run_sync(stamp_of, file.path) != file.stamp:
            await self._reload()

    async def _reload(self) -> None:
        self._adopt(await to_thread.run_sync(load_registry, self._registry.file.path, self._environment))
        self._changed()

    def _adopt(self, registry: Registry) -> None:
        self._registry = registry
        self._probes.adopt(registry.providers)
        for damage in registry.file.damage:
            logger.warning("override file: %s", damage.message, extra={"agent": damage.id})


def _guarded(listener: Callable[[], None] | None) -> Callable[[], None]:
    def changed() -> None:
        if listener is None:
            return
        try:
            listener()
        except Exception:
            logger.exception("a listener of provider changes failed")

    return changed


def _check_guarded(ids: Iterable[str], before: Mapping[str, Json], after: Mapping[str, Json]) -> None:
    for id in ids:
        old, new = guarded_fields(before.get(id)), guarded_fields(after.get(id))
        names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        if names:
            raise Forbidden(
                f"{id}: changing {', '.join(names)} decides what this machine runs and is not allowed here; "
                "edit the override file instead",
                id=id,
                names=names,
            )


def _masked(raw: Json) -> Json:
    if not isinstance(raw, dict) or "env" not in raw:
        return raw
    env = raw["env"]
    return {**raw, "env": dict.fromkeys(env, MASK) if isinstance(env, dict) else MASK}


def _unmasked(id: str, change: Mapping[str, Json], stored: Json) -> Mapping[str, Json]:
    env = change.get("env")
    if not isinstance(env, dict):
        return change
    known = stored.get("env") if isinstance(stored, dict) else None
    values: dict[str, Json] = dict(known) if isinstance(known, dict) else {}
    unknown = [name for name, value in env.items() if value == MASK and name not in values]
    if unknown:
        raise InvalidInput(f"{id}: env: no stored value for {', '.join(unknown)}")
    return {**change, "env": {name: values[name] if value == MASK else value for name, value in env.items()}}
