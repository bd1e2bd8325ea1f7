"""Routes of providers: the snapshot, the override file, diagnostics."""

from collections.abc import Iterable
from typing import Literal

from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import ForceQuery
from coder.host import Host
from coder.model.providers import Diagnostic, ProviderConfig, ProviderSnapshot
from coder.model.values import Input
from coder.protocol import ProviderPage, ProviderPatch, ProviderRefresh


class MergeQuery(Input):
    """`merge=fields` changes single fields instead of replacing whole entries."""

    merge: Literal["fields"] | None = None


async def snapshot(host: Host, call: Call[Nothing, ForceQuery]) -> ProviderPage:
    return _page(host, await host.providers.snapshot(force=call.query.force))


async def get_config(host: Host, call: Call[Nothing, Nothing]) -> ProviderConfig:
    return await host.providers.config()


async def patch_config(host: Host, call: Call[ProviderPatch, MergeQuery]) -> ProviderConfig:
    return await host.providers.patch(
        call.body,
        merge_fields=call.query.merge == "fields",
        may_write_code=host.settings.providers.http_write,
    )


async def refresh(host: Host, call: Call[ProviderRefresh, Nothing]) -> ProviderPage:
    return _page(host, await host.providers.refresh(call.body.providers))


async def diagnose(host: Host, call: Call[Nothing, Nothing]) -> Diagnostic:
    return await host.providers.diagnostic(call.path["id"])


def _page(host: Host, rows: Iterable[ProviderSnapshot]) -> ProviderPage:
    """The rows with what the pool has of each."""
    items = tuple(row.model_copy(update={"pool": host.pool.share(row.id)}) for row in rows)
    return ProviderPage(items=items, pool=host.pool.totals(), spares=host.sessions.spare_totals())


routes = [
    read(
        "/api/providers/snapshot",
        snapshot,
        "Every provider: installed, usable, models, modes, commands",
        tag="providers",
        query=ForceQuery,
        answer=ProviderPage,
    ),
    read(
        "/api/providers/config",
        get_config,
        "The override file as it stands",
        tag="providers",
        query=Nothing,
        answer=ProviderConfig,
    ),
    command(
        "PATCH",
        "/api/providers/config",
        patch_config,
        "Change overrides by id; null removes one. Executable fields need `providers.http_write`",
        tag="providers",
        body=ProviderPatch,
        query=MergeQuery,
        answer=ProviderConfig,
        status=200,
    ),
    command(
        "POST",
        "/api/providers/refresh",
        refresh,
        "Probe providers again",
        tag="providers",
        body=ProviderRefresh,
        query=Nothing,
        answer=ProviderPage,
        status=200,
    ),
    read(
        "/api/providers/{id}/diagnostic",
        diagnose,
        "Why a provider does not work",
        tag="providers",
        query=Nothing,
        answer=Diagnostic,
    ),
]
