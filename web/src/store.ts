// Everything the pane knows, and how a wish to change it is carried out. React only reads it.

import { useMemo } from "react";
import { create } from "zustand";

import { Refusal, wordsOf } from "./api.ts";
import { activityOf, byId, type Activity, type Facts, type Standing, type View } from "./fold.ts";
import type { Change, Problem, Project, PromptFrame, ProviderPage, ProviderSnapshot, Session } from "./protocol.ts";
import type { Link } from "./socket.ts";

/** A session that is followed but not looked at: its rows are kept current, its story is not. */
interface Pulse {
  readonly seq: number;
  readonly facts: Facts;
}

/** A prompt on its way; it leaves the list when the host has accepted it. */
export interface Outgoing {
  readonly frame: PromptFrame;
  readonly words: string | null;
}

/** What happened to a button that was pressed: under way, or refused in words. */
export type Deed = { state: "busy" } | Refused;

export interface Refused {
  readonly state: "refused";
  readonly words: string;
  /** The host's code, and the refusal's own data. */
  readonly code: string | null;
  readonly fields: Problem["fields"];
}

export interface Pane {
  screen: "starting" | "login" | "ready";
  trouble: string | null;
  link: Link;
  projects: readonly Project[];
  sessions: readonly Session[];
  providers: readonly ProviderSnapshot[] | null;
  /** What the host keeps ready, as it was when the providers were asked for last. */
  warmth: Pick<ProviderPage, "pool" | "spares"> | null;
  pulses: Readonly<Record<string, Pulse>>;
  views: Readonly<Record<string, View>>;
  gone: Readonly<Record<string, string>>;
  outbox: readonly Outgoing[];
  deeds: Readonly<Record<string, Deed>>;
}

export const usePane = create<Pane>(() => ({
  screen: "starting",
  trouble: null,
  link: { state: "connecting" },
  projects: [],
  sessions: [],
  providers: null,
  warmth: null,
  pulses: {},
  views: {},
  gone: {},
  outbox: [],
  deeds: {},
}));

const { getState: pane, setState: set } = usePane;

/** How the session stands. What only asks for this is not rendered anew while an agent talks. */
export function useStanding(id: string): Standing | undefined {
  const facts = usePane((state) => state.views[id]?.facts);
  return useMemo(() => facts && { facts }, [facts]);
}

// Deeds

/** Carry something out and keep its state under `name`, for the button that asked for it. Says whether it worked. */
export async function doing(name: string, deed: () => Promise<void>): Promise<boolean> {
  if (pane().deeds[name]?.state === "busy") return false;
  set({ deeds: { ...pane().deeds, [name]: { state: "busy" } } });
  try {
    await deed();
    dismiss(name);
    return true;
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) set({ screen: "login", trouble: null });
    const { code, fields } = error instanceof Refusal ? error : { code: null, fields: null };
    set({ deeds: { ...pane().deeds, [name]: { state: "refused", words: wordsOf(error), code, fields } } });
    return false;
  }
}

export function dismiss(name: string): void {
  const { [name]: _done, ...deeds } = pane().deeds;
  set({ deeds });
}

/** Rows that an answer held, before the records that tell the same arrive. */
export function noteChanges(sessionId: string, changes: readonly Change[]): void {
  const view = pane().views[sessionId];
  if (!view) return;
  const known = view.facts.changes;
  const newer = changes.filter(({ id, decided_at }) => (decided_at ?? "") > (known[id]?.decided_at ?? ""));
  const facts = { ...view.facts, changes: { ...known, ...byId(newer) } };
  set({ views: { ...pane().views, [sessionId]: { ...view, facts } } });
}

// What a person sees at a glance

export function activityIn(state: Pane, id: string): Activity {
  const facts = state.views[id]?.facts ?? state.pulses[id]?.facts;
  return facts ? activityOf(facts) : "idle";
}

export function sessionIn(state: Pane, id: string): Session | undefined {
  return (
    state.views[id]?.facts.session ?? state.pulses[id]?.facts.session ?? state.sessions.find((one) => one.id === id)
  );
}
