// Agents are started while somebody still writes: what a cold start costs is paid before the prompt is sent.

import { api } from "./api.ts";

/** An agent that was asked for so recently is warm, or will not become so. */
const AGAIN_AFTER = 60_000;
const asked = new Map<string, number>();

/** Start an agent that a prompt is likely for. Where that fails, the prompt says why. */
export function warm(session: string, agent: string): void {
  const key = `${session} ${agent}`;
  const at = Date.now();
  if (at - (asked.get(key) ?? -AGAIN_AFTER) < AGAIN_AFTER) return;
  asked.set(key, at);
  api.warm(session, agent).catch(() => undefined);
}
