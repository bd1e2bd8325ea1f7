// Everything that can be done, under one name each: the palette lists it, a shortcut does it, a button shows the shortcut.

import { useEffect, useLayoutEffect, useRef } from "react";
import { create } from "zustand";

import { chordOf, isCommanding, isWriting } from "./keys.ts";
import { usePreferences } from "./preferences.ts";

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
  "session.rename": { title: "Rename session", group: "Sessions", keys: ["F2"] },
  "session.close": { title: "Close session", group: "Sessions" },
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

type Runs = Readonly<Record<string, () => void>>;

/** What can be done now. */
export const useRuns = create<{ runs: Runs }>(() => ({ runs: {} }));

/** Offer the action while the caller is shown and `run` is there. The one that offers it last has it. */
export function useAction(id: ActionId, run: (() => void) | null | undefined | false): void {
  const latest = useRef(run);
  useLayoutEffect(() => {
    latest.current = run;
  });
  const isOffered = !!run;
  useEffect(() => {
    if (!isOffered) return;
    const offer = () => {
      if (latest.current) latest.current();
    };
    useRuns.setState(({ runs }) => ({ runs: { ...runs, [id]: offer } }));
    return () =>
      useRuns.setState(({ runs }) => {
        if (runs[id] !== offer) return {};
        const { [id]: _gone, ...rest } = runs;
        return { runs: rest };
      });
  }, [id, isOffered]);
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
  const { runs } = useRuns.getState();
  const id = actionsOf(chord, usePreferences.getState().bindings).find((one) => runs[one]);
  if (!id || (isModal && id !== "palette")) return;
  event.preventDefault();
  runs[id]?.();
}
