import { Plus, RefreshCw } from "lucide-react";
import { Suspense, lazy, useEffect, useState, type ReactNode } from "react";

import { Button, Spinner, Trouble } from "./controls.tsx";
import type { ProviderSnapshot } from "./protocol.ts";
import { enableProvider, probeProviders, refreshProviders } from "./providers.ts";
import { dismiss, usePane } from "./store.ts";
import { HostWarmth, Warmth } from "./warmth.tsx";
import { clockOf, countOf } from "./words.ts";

const AddAgent = lazy(() => import("./add-agent.tsx"));
/** Milliseconds after which figures are asked for anew while somebody looks at them. */
const ANEW = 5_000;

const Diagnose = lazy(() => import("./diagnose.tsx"));

/** Every provider: is it there, signed in, usable; and if not, what to do. */
export function Agents() {
  const providers = usePane((state) => state.providers);
  const deed = usePane((state) => state.deeds["probe"]);
  const trouble = usePane((state) => state.deeds["providers"]);
  const [isAdding, setAdding] = useState(false);
  useEffect(() => {
    void refreshProviders();
    const timer = setInterval(() => {
      if (!document.hidden && usePane.getState().link.state === "online") void refreshProviders();
    }, ANEW);
    return () => clearInterval(timer);
  }, []);
  const hasOthers = providers?.some(({ id, usable }) => usable && id !== "demo") ?? true;
  return (
    <div className="h-full overflow-y-auto">
      <div className="mx-auto flex max-w-[52rem] flex-col gap-4 px-4 py-6 sm:px-8">
        <div className="flex flex-wrap items-end gap-3">
          <div className="min-w-64 flex-1">
            <h1 className="text-xl font-semibold tracking-tight">Agents</h1>
            <p className="mt-1 text-soft">What this host can put to work, and what is missing where it cannot.</p>
          </div>
          <Button onClick={() => setAdding(true)}>
            <Plus aria-hidden className="size-3.5" /> Add an agent
          </Button>
          <Button disabled={deed?.state === "busy"} onClick={() => void probeProviders(null)}>
            {deed?.state === "busy" ? <Spinner /> : <RefreshCw aria-hidden className="size-3.5" />} Refresh
          </Button>
        </div>
        {deed?.state === "refused" && <Trouble words={deed.words} onDismiss={() => dismiss("probe")} />}
        {trouble?.state === "refused" && <Trouble words={trouble.words} onDismiss={() => dismiss("providers")} />}
        {!hasOthers && (
          <p className="rounded-lg border border-line bg-surface px-4 py-3 text-soft">
            Only the built-in <b className="font-medium text-ink">Demo</b> agent can work so far. It needs no key and shows how everything goes: choose it
            in a session and say hello. To put a real agent to work, install one of those below by its line, then press Refresh.
          </p>
        )}
        <HostWarmth />
        <Suspense>{isAdding && <AddAgent onClose={() => setAdding(false)} />}</Suspense>
        {providers === null ? (
          <p className="flex items-center gap-2 text-faint">
            <Spinner /> Loading…
          </p>
        ) : (
          <ul className="flex flex-col divide-y divide-line rounded-lg border border-line bg-surface">
            {providers.toSorted((a, b) => Number(b.installed) - Number(a.installed)).map((provider) => (
              <ProviderRow key={provider.id} provider={provider} />
            ))}
          </ul>
        )}
      </div>
    </div>
  );
}

function ProviderRow({ provider }: { provider: ProviderSnapshot }) {
  const [isOpen, setOpen] = useState(false);
  const [isDiagnosed, setDiagnosed] = useState(false);
  const switched = usePane((state) => state.deeds[`provider:${provider.id}`]);
  const probed = usePane((state) => state.deeds[`probe:${provider.id}`]);
  const refused = switched?.state === "refused" ? switched : probed?.state === "refused" ? probed : null;
  const isLoading = provider.enabled && provider.status === "loading";
  return (
    <li aria-label={provider.label} className="flex flex-col gap-2 px-4 py-3">
      <div className="flex items-start gap-4">
        <div className="min-w-0 flex-1">
          <div className="flex flex-wrap items-baseline gap-x-2">
            <h2 className="font-semibold">{provider.label}</h2>
            <span className="font-mono text-2xs text-faint">
              {provider.id}
              {provider.version && ` · ${provider.version}`}
            </span>
          </div>
          {provider.description && <p className="text-soft">{provider.description}</p>}
        </div>
        <Switch
          label={`Use ${provider.label}`}
          isOn={provider.enabled}
          isBusy={switched?.state === "busy"}
          onChange={(enabled) => void enableProvider(provider.id, enabled)}
        />
      </div>
      <div className="flex flex-wrap items-center gap-x-4 gap-y-1 text-xs">
        <Sign isGood={provider.installed || null}>{provider.installed ? "Installed" : "Not installed"}</Sign>
        {provider.installed && (
          <Sign isGood={provider.signed_in}>
            {provider.signed_in === null ? "Sign-in not checked" : provider.signed_in ? "Signed in" : "Signed out"}
          </Sign>
        )}
        {!provider.installed ? null : isLoading ? (
          <span className="flex items-center gap-1.5 text-faint">
            <Spinner className="size-3" /> Looking…
          </span>
        ) : (
          <Sign isGood={provider.usable}>{provider.usable ? "Usable" : provider.enabled ? "Not usable" : "Switched off"}</Sign>
        )}
        {provider.installed && provider.models.length > 0 && <span className="text-faint">{countOf(provider.models.length, "model")}</span>}
        {provider.installed && provider.modes.length > 0 && <span className="text-faint">{countOf(provider.modes.length, "mode")}</span>}
        <span className="ml-auto flex items-center gap-1">
          {provider.fetched_at && <span className="text-2xs text-faint">checked {clockOf(provider.fetched_at)}</span>}
          <Button look="quiet" className="h-6 px-1.5" onClick={() => setDiagnosed(true)}>
            Diagnose <span className="sr-only">{provider.label}</span>
          </Button>
          <Suspense>{isDiagnosed && <Diagnose provider={provider} onClose={() => setDiagnosed(false)} />}</Suspense>
          <Button look="quiet" className="h-6 px-1.5" aria-label={`Check again: ${provider.label}`} disabled={probed?.state === "busy"} onClick={() => void probeProviders(provider.id)}>
            {probed?.state === "busy" ? <Spinner /> : "Check again"}
          </Button>
        </span>
      </div>
      <Warmth pool={provider.pool} />
      {provider.error && provider.installed && <p className="text-xs text-bad [overflow-wrap:anywhere]">{provider.error}</p>}
      {!provider.installed &&
        (provider.install_hint ? (
          <Hint label="To install">{provider.install_hint}</Hint>
        ) : (
          provider.error && <p className="text-xs text-soft [overflow-wrap:anywhere]">{provider.error}</p>
        ))}
      {provider.signed_in === false &&
        provider.auth_methods.map((method) => (
          <Hint key={method.id} label={method.name}>
            {method.command?.join(" ") ?? method.description ?? "Sign in with the agent's own program."}
          </Hint>
        ))}
      {refused && (
        <Trouble words={refused.words} onDismiss={() => [`provider:${provider.id}`, `probe:${provider.id}`].forEach(dismiss)} />
      )}
      {provider.models.length > 0 && (
        <div>
          <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)} className="text-xs text-soft underline underline-offset-2 hover:text-ink">
            {isOpen ? "Hide models and modes" : "Show models and modes"}
          </button>
          {isOpen && (
            <ul className="mt-1.5 flex flex-wrap gap-1.5">
              {provider.models.map((model) => (
                <li key={model.id} title={model.id} className="rounded-sm bg-sunken px-1.5 py-0.5 text-2xs">
                  {model.label}
                </li>
              ))}
              {provider.modes.map((mode) => (
                <li key={mode.id} title={mode.description ?? mode.id} className="rounded-sm border border-line px-1.5 py-0.5 text-2xs">
                  {mode.label}
                </li>
              ))}
            </ul>
          )}
        </div>
      )}
    </li>
  );
}

function Sign({ isGood, children }: { isGood: boolean | null; children: ReactNode }) {
  const colour = isGood === null ? "bg-line-strong" : isGood ? "bg-good" : "bg-bad";
  return (
    <span className="flex items-center gap-1.5 text-soft">
      <span aria-hidden className={`size-1.5 rounded-full ${colour}`} />
      {children}
    </span>
  );
}

function Hint({ label, children }: { label: string; children: ReactNode }) {
  return (
    <p className="text-xs text-soft">
      {label}: <code className="rounded-sm bg-sunken px-1.5 py-0.5 font-mono text-2xs text-ink select-all">{children}</code>
    </p>
  );
}

interface SwitchProps {
  label: string;
  isOn: boolean;
  isBusy: boolean;
  onChange: (isOn: boolean) => void;
}

function Switch({ label, isOn, isBusy, onChange }: SwitchProps) {
  return (
    <button
      type="button"
      role="switch"
      aria-checked={isOn}
      aria-label={label}
      disabled={isBusy}
      onClick={() => onChange(!isOn)}
      className={`relative mt-0.5 h-5 w-9 shrink-0 rounded-full transition-colors disabled:opacity-50 ${isOn ? "bg-good" : "bg-line-strong"}`}
    >
      <span
        aria-hidden
        className={`absolute top-0.5 left-0.5 size-4 rounded-full bg-raised shadow-sm transition-transform ${isOn ? "translate-x-4" : ""}`}
      />
    </button>
  );
}
