// What the host knows of agents.

import { api } from "./api.ts";
import { byId } from "./fold.ts";
import type { ProviderPage } from "./protocol.ts";
import { doing, usePane } from "./store.ts";

const { getState: pane, setState: set } = usePane;

const PROVIDERS_EVERY = 1_500;

let providerTimer: ReturnType<typeof setTimeout> | undefined;

let isProvidersStale = false;

/** Ask for every provider anew; asked for while an answer is on its way, it is asked once more after that. */
export async function refreshProviders(): Promise<void> {
  clearTimeout(providerTimer);
  if (pane().deeds.providers?.state === "busy") {
    isProvidersStale = true;
    return;
  }
  isProvidersStale = false;
  await doing("providers", async () => {
    noteProviders(await api.providers());
  });
  if (isProvidersStale) await refreshProviders();
}

export const probeProviders = (id: string | null) =>
  doing(id === null ? "probe" : `probe:${id}`, async () => {
    const page = await api.refreshProviders(id === null ? null : [id]);
    const found = byId(page.items);
    const known = pane().providers ?? [];
    noteProviders({ ...page, items: known.length ? known.map((one) => found[one.id] ?? one) : page.items });
  });

export const enableProvider = (id: string, enabled: boolean) =>
  doing(`provider:${id}`, async () => {
    await api.enableProvider(id, enabled);
    noteProviders(await api.providers());
  });

function noteProviders({ items: providers, pool, spares }: ProviderPage): void {
  set({ providers, warmth: { pool, spares } });
  clearTimeout(providerTimer);
  if (providers.some((provider) => provider.status === "loading" && provider.enabled)) {
    providerTimer = setTimeout(() => void refreshProviders(), PROVIDERS_EVERY);
  }
}

