// Everything that can be done, under one name each: the palette lists it, a shortcut does it, a button shows the shortcut.

import { useContext, useEffect, useLayoutEffect, useMemo, useRef } from "react";
import { create } from "zustand";

import { ColumnContext } from "./columns.ts";
import { chordOf, isCommanding, isWriting } from "./keys.ts";
import { usePreferences } from "./preferences.ts";
import { here, useRoute, type Route } from "./route.ts";

export interface ActionFacts {
  readonly title: string;
  readonly group: string;
  /** The usual shortcuts. */
  readonly keys?: readonly string[];
}

const ANSWERS = Object.fromEntries(
  [1, 2, 3, 4, 5, 6, 7, 8, 9].map((digit) => [
    `permission.${digit}` as const,
    { title: `Answer a permission request with option ${digit}`, group: "Permissions", keys: [`${digit}`, `Alt+${digit}`] },
  ]),
) as unknown as Record<`permission.${number}`, ActionFacts>;

const NAMED = {
  palette: { title: "Show all commands", group: "General", keys: ["Mod+K"] },
  shortcuts: { title: "Keyboard shortcuts", group: "General", keys: ["?"] },
  preferences: { title: "Preferences", group: "General", keys: ["Mod+,"] },
  "log-out": { title: "Log out", group: "General" },
  "session.new": { title: "New session", group: "Sessions", keys: ["Alt+N"] },
  "session.search": { title: "Search sessions", group: "Sessions", keys: ["Alt+S"] },
  "session.next": { title: "Next session", group: "Sessions", keys: ["Alt+ArrowDown"] },
  "session.previous": { title: "Previous session", group: "Sessions", keys: ["Alt+ArrowUp"] },
  "session.asking": { title: "Next session that needs you", group: "Sessions", keys: ["Alt+J"] },
  "session.beside": { title: "Open a session beside this one", group: "Sessions", keys: ["Alt+B"] },
  "session.rename": { title: "Rename session", group: "Sessions", keys: ["F2"] },
  "session.close": { title: "Close session", group: "Sessions" },
  "column.next": { title: "Next column", group: "Columns", keys: ["Alt+W"] },
  "column.previous": { title: "Previous column", group: "Columns", keys: ["Alt+Shift+W"] },
  "column.left": { title: "Move the column to the left", group: "Columns" },
  "column.right": { title: "Move the column to the right", group: "Columns" },
  "column.close": { title: "Close the column", group: "Columns", keys: ["Alt+X"] },
  "column.only": { title: "Close the other columns", group: "Columns" },
  "go.home": { title: "Go to the start", group: "Sessions" },
  "go.agents": { title: "Go to agents", group: "Agents", keys: ["Alt+G"] },
  "prompt.focus": { title: "Write a prompt", group: "Prompt", keys: ["Alt+P", "/"] },
  "prompt.attach": { title: "Attach a file", group: "Prompt", keys: ["Alt+U"] },
  "prompt.agent": { title: "Choose the agent", group: "Prompt", keys: ["Alt+A"] },
  "prompt.model": { title: "Choose the model", group: "Prompt", keys: ["Alt+M"] },
  "prompt.mode": { title: "Choose the mode", group: "Prompt", keys: ["Alt+O"] },
  "turn.stop": { title: "Stop the turn", group: "Conversation", keys: ["Escape"] },
  "turn.retry": { title: "Send the last prompt again", group: "Conversation" },
  "log.find": { title: "Find in conversation", group: "Conversation", keys: ["Mod+F"] },
  "log.latest": { title: "Jump to latest", group: "Conversation", keys: ["Alt+End"] },
  "log.earliest": { title: "Jump to the beginning", group: "Conversation", keys: ["Alt+Home"] },
  "log.copy": { title: "Copy the last answer", group: "Conversation" },
  "panel.changes": { title: "Show or hide changes", group: "View", keys: ["Alt+C"] },
  "panel.files": { title: "Show files", group: "View", keys: ["Alt+F"] },
  "panel.output": { title: "Show terminal output", group: "View", keys: ["Alt+T"] },
  "panel.plan": { title: "Show the plan", group: "View", keys: ["Alt+L"] },
  "changes.apply": { title: "Apply all changes", group: "Changes" },
  "changes.split": { title: "Split or unified differences", group: "Changes" },
  "changes.full": { title: "Changes over the whole window, or beside", group: "Changes" },
  "changes.files": { title: "Show changed files", group: "Changes" },
  "changes.comments": { title: "Show comments", group: "Changes" },
  "changes.checkpoints": { title: "Show checkpoints", group: "Changes" },
  "changes.decisions": { title: "Show decisions", group: "Changes" },
  "changes.auto": { title: "Apply changes automatically, or not", group: "Changes" },
  "branch.commit": { title: "Commit on the session's branch", group: "Changes" },
  "branch.update": { title: "Update from the default branch", group: "Changes" },
  "branch.patch": { title: "Export changes as a patch", group: "Changes" },
  "view.sessions": { title: "Show or hide sessions", group: "View", keys: ["Mod+B"] },
  "theme.light": { title: "Light theme", group: "View" },
  "theme.dark": { title: "Dark theme", group: "View" },
  "theme.system": { title: "Theme of the system", group: "View" },
  "density": { title: "Change the density", group: "View" },
  "notify": { title: "Switch notifications on or off", group: "View" },
} satisfies Record<string, ActionFacts>;

export type ActionId = keyof typeof NAMED | `permission.${number}`;

export const ACTIONS: Readonly<Record<string, ActionFacts>> = { ...NAMED, ...ANSWERS };

interface Offer {
  readonly id: string;
  /** The session whose column offers it; null for what is the same everywhere. */
  readonly column: string | null;
  readonly run: () => void;
}

type Runs = Readonly<Record<string, () => void>>;

const useOffers = create<{ offers: readonly Offer[] }>(() => ({ offers: [] }));

/** What can be done while the keys go to that column; of two offers of an action the later one counts. */
export function runsOf(offers: readonly Offer[], column: string | null): Runs {
  const own = offers.filter((offer) => offer.column === null || offer.column === column);
  return Object.fromEntries(own.map(({ id, run }) => [id, run]));
}

/** What can be done now. */
export function useRuns(): Runs {
  const offers = useOffers((state) => state.offers);
  const column = columnOf(useRoute());
  return useMemo(() => runsOf(offers, column), [offers, column]);
}

/** Do it in that column, if it can be done there. */
export function runIn(column: string, id: ActionId): boolean {
  const run = runsOf(useOffers.getState().offers, column)[id];
  run?.();
  return run !== undefined;
}

function columnOf(route: Route): string | null {
  return route.place === "session" ? route.id : null;
}

/** Offer the action while the caller is shown and `run` is there; from within a column, while the keys go to it. */
export function useAction(id: ActionId, run: (() => void) | null | undefined | false): void {
  const latest = useRef(run);
  useLayoutEffect(() => {
    latest.current = run;
  });
  const isOffered = !!run;
  const column = useContext(ColumnContext)?.id ?? null;
  useEffect(() => {
    if (!isOffered) return;
    const offer: Offer = { id, column, run: () => latest.current && latest.current() };
    useOffers.setState(({ offers }) => ({ offers: [...offers, offer] }));
    return () => useOffers.setState(({ offers }) => ({ offers: offers.filter((one) => one !== offer) }));
  }, [id, isOffered, column]);
}

/** The shortcuts of an action, the person's own before the usual ones. */
export function keysOf(id: string, bindings: Readonly<Record<string, string>>): readonly string[] {
  const own = bindings[id];
  if (own !== undefined) return own === "" ? [] : [own];
  return ACTIONS[id]?.keys ?? [];
}

export function useKeysOf(id: ActionId): readonly string[] {
  return keysOf(id, usePreferences((state) => state.bindings));
}

/** The actions that a chord stands for. */
export function actionsOf(chord: string, bindings: Readonly<Record<string, string>>): string[] {
  return Object.keys(ACTIONS).filter((id) => keysOf(id, bindings).includes(chord));
}

/** Carry out what the chord stands for, if it can be done now. */
export function pressed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || event.getModifierState("AltGraph")) return;
  const chord = chordOf(event);
  if (!chord || (isWriting(event.target) && !isCommanding(chord))) return;
  const isModal = document.querySelector("dialog[open]") !== null;
  const runs = runsOf(useOffers.getState().offers, columnOf(here()));
  const id = actionsOf(chord, usePreferences.getState().bindings).find((one) => runs[one]);
  if (!id || (isModal && id !== "palette")) return;
  event.preventDefault();
  runs[id]?.();
}
