// Whom the pane calls while nobody looks: unread marks, the title and favicon, notifications.

import { useEffect } from "react";

import { showSession } from "./columns.ts";
import type { Activity, Facts } from "./fold.ts";
import { callWith, markFavicon } from "./notify.ts";
import { prefer, usePreferences } from "./preferences.ts";
import type { Route } from "./route.ts";
import { activityIn, sessionIn, usePane, type Pane } from "./store.ts";

/** When the newest turn ended; empty where none did. */
export function newestEnd(facts: Pick<Facts, "tasks"> | undefined): string {
  let newest = "";
  for (const task of Object.values(facts?.tasks ?? {})) if ((task.ended_at ?? "") > newest) newest = task.ended_at ?? "";
  return newest;
}

export function isUnread(state: Pane, id: string, seen: Readonly<Record<string, string>>): boolean {
  return newestEnd(state.views[id]?.facts ?? state.pulses[id]?.facts) > (seen[id] ?? "");
}

/** While the session is looked at, what ended in it is read. */
export function useSeeing(id: string): void {
  const end = usePane((state) => newestEnd(state.views[id]?.facts));
  useEffect(() => {
    const see = () => {
      const { seen } = usePreferences.getState();
      if (!document.hidden && end > (seen[id] ?? "")) prefer({ seen: pruned({ ...seen, [id]: end }) });
    };
    see();
    document.addEventListener("visibilitychange", see);
    return () => document.removeEventListener("visibilitychange", see);
  }, [id, end]);
}

/** Sessions that are gone are forgotten here too. */
function pruned(seen: Readonly<Record<string, string>>): Record<string, string> {
  const known = new Set(usePane.getState().sessions.map(({ id }) => id));
  return Object.fromEntries(Object.entries(seen).filter(([id]) => known.has(id)));
}

/** The tab says which session this is, and calls when one needs an answer. */
export function useTitle(route: Route): void {
  const name = usePane((state) => (route.place === "session" ? sessionIn(state, route.id)?.name : undefined));
  const asking = usePane((state) => state.sessions.filter(({ id }) => activityIn(state, id) === "needs_you").length);
  const seen = usePreferences((state) => state.seen);
  const unread = usePane((state) => state.sessions.filter(({ id }) => isUnread(state, id, seen)).length);
  useEffect(() => {
    const place = route.place === "agents" ? "Agents" : name;
    document.title = `${asking ? `(${asking}) ` : ""}${place ? `${place} · ` : ""}coder`;
    const mark = () => markFavicon(asking > 0 || (document.hidden && unread > 0));
    mark();
    document.addEventListener("visibilitychange", mark);
    return () => document.removeEventListener("visibilitychange", mark);
  }, [route.place, name, asking, unread]);
}

const WORDS: Partial<Record<Activity, string>> = { needs_you: "needs your answer", idle: "is done", failed: "failed" };

interface Seen {
  readonly activity: Activity;
  /** When its newest turn ended. */
  readonly end: string;
}

/** Whether somebody is to be called: an agent begins to ask, or a turn has ended, however short it was. */
export function isNews(before: Seen, now: Seen): boolean {
  if (now.activity === "needs_you") return before.activity !== "needs_you";
  return now.end > before.end && WORDS[now.activity] !== undefined;
}

/** A notification when a session begins to need somebody or comes to its end, where one asked for it. */
export function useNotifications(): void {
  useEffect(() => {
    const known = new Map<string, Seen>();
    return usePane.subscribe((state) => {
      for (const { id } of state.sessions) {
        const facts = state.views[id]?.facts ?? state.pulses[id]?.facts;
        if (!facts) continue;
        const now = { activity: activityIn(state, id), end: newestEnd(facts) };
        const before = known.get(id);
        known.set(id, now);
        if (!before || !isNews(before, now)) continue;
        const name = sessionIn(state, id)?.name ?? "A session";
        callWith(name, `${name} ${WORDS[now.activity]}.`, `coder ${id}`, () => showSession(id));
      }
    });
  }, []);
}
