// What stands around every screen: the sessions, the dialogs, the keys.

import { Suspense, lazy, useEffect, useState } from "react";

import { pressed, useAction } from "./actions.ts";
import { logOut } from "./follow.ts";
import { NewSession } from "./new-session.tsx";
import { askToNotify } from "./notify.ts";
import { prefer, usePreferences } from "./preferences.ts";
import { go, type Route } from "./route.ts";
import { listed } from "./session-list.ts";
import { activityIn, usePane } from "./store.ts";

const Palette = lazy(() => import("./palette.tsx"));
const Settings = lazy(() => import("./settings.tsx"));

/** Listens to the keys wherever the focus is. */
export function useKeys(): void {
  useEffect(() => {
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
}

type Open = { dialog: "palette" | "settings" } | { dialog: "new"; projectId: string | null } | null;

/** The dialogs that open from anywhere, and the actions that need no screen of their own. */
export function useDialogs(route: Route) {
  const [open, setOpen] = useState<Open>(null);
  const close = () => setOpen(null);
  const openNew = (projectId: string | null) => setOpen({ dialog: "new", projectId });
  useAction("palette", () => setOpen((now) => (now?.dialog === "palette" ? null : { dialog: "palette" })));
  useAction("shortcuts", () => setOpen({ dialog: "settings" }));
  useAction("preferences", () => setOpen({ dialog: "settings" }));
  useAction("session.new", () => openNew(route.place === "session" ? projectOf(route.id) : null));
  useAction("go.home", () => go({ place: "home" }));
  useAction("go.agents", () => go({ place: "agents" }));
  useAction("log-out", () => void logOut());
  useAction("theme.light", () => prefer({ theme: "light" }));
  useAction("theme.dark", () => prefer({ theme: "dark" }));
  useAction("theme.system", () => prefer({ theme: "system" }));
  useAction("density", () => prefer({ density: usePreferences.getState().density === "compact" ? "comfortable" : "compact" }));
  useAction("notify", () => void askToNotify(!usePreferences.getState().notifies));
  useSteps(route);
  const dialogs = (
    <Suspense>
      {open?.dialog === "palette" && <Palette onClose={() => setOpen((now) => (now?.dialog === "palette" ? null : now))} />}
      {open?.dialog === "settings" && <Settings onClose={close} />}
      {open?.dialog === "new" && <NewSession projectId={open.projectId} onClose={close} />}
    </Suspense>
  );
  return { dialogs, openNew, openSettings: () => setOpen({ dialog: "settings" }) };
}

function projectOf(sessionId: string): string | null {
  return usePane.getState().sessions.find(({ id }) => id === sessionId)?.project_id ?? null;
}

/** Going from session to session, in the order of the list. */
function useSteps(route: Route): void {
  const step = (by: number, isWanted: (id: string) => boolean) => {
    const { projects, sessions } = usePane.getState();
    const ids = listed(projects, sessions).map(({ id }) => id);
    const here = route.place === "session" ? ids.indexOf(route.id) : by > 0 ? -1 : 0;
    for (let far = 1; far <= ids.length; far += 1) {
      const id = ids[(here + by * far + ids.length * far) % ids.length];
      if (id && isWanted(id)) return go({ place: "session", id });
    }
  };
  const hasSessions = usePane((state) => state.sessions.length > 0);
  const isAsked = usePane((state) => state.sessions.some(({ id }) => activityIn(state, id) === "needs_you"));
  useAction("session.next", hasSessions && (() => step(1, () => true)));
  useAction("session.previous", hasSessions && (() => step(-1, () => true)));
  useAction("session.asking", isAsked && (() => step(1, (id) => activityIn(usePane.getState(), id) === "needs_you")));
}
