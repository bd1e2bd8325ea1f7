import { Shield, ShieldOff } from "lucide-react";

import type { Standing } from "./fold.ts";
import type { ProviderSnapshot } from "./protocol.ts";
import { usePane } from "./store.ts";

type Kind = NonNullable<ProviderSnapshot["sandbox"]>;

const WORDS: Record<Kind, string> = {
  bubblewrap: "in a sandbox (bubblewrap)",
  landlock: "in a sandbox (Landlock)",
  none: "without a sandbox: it may do what your account may",
};

/** What confines the session's agents, or would confine the next one while there is none yet. */
export function SandboxBadge({ view }: { view: Standing | undefined }) {
  const providers = usePane((state) => state.providers);
  const started = Object.entries(view?.facts.agents ?? {}).flatMap(([agent, { sandbox }]) => (sandbox ? [{ agent, sandbox }] : []));
  const offered = (providers ?? []).flatMap(({ id, usable, sandbox }) => (usable && sandbox ? [{ agent: id, sandbox }] : []));
  const shown = started.length > 0 ? started : offered;
  const first = shown[0];
  if (!first) return null;
  const isFree = shown.some(({ sandbox }) => sandbox === "none");
  const Icon = isFree ? ShieldOff : Shield;
  const isMixed = isFree && shown.some(({ sandbox }) => sandbox !== "none");
  return (
    <span
      aria-label="Sandbox"
      role="note"
      title={shown.map(({ agent, sandbox }) => `${agent}: ${WORDS[sandbox]}`).join("\n")}
      className={`flex shrink-0 items-center gap-1 text-2xs ${isFree ? "text-ask" : "text-faint"}`}
    >
      <Icon aria-hidden className="size-3 shrink-0" />
      <span className="sr-only @lg:not-sr-only">{isMixed ? "partly sandboxed" : isFree ? "no sandbox" : first.sandbox}</span>
    </span>
  );
}
