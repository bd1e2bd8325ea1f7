// What stands around every screen: the sessions, the dialogs, the keys.

import { Suspense, lazy, useEffect, useState } from "react";

import { pressed, useAction } from "./actions.ts";
import { showSession } from "./columns.ts";
import { logOut } from "./follow.ts";
import { PHONE, useMedia } from "./media.ts";
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

type Open = { dialog: "palette" | "beside" | "settings" } | { dialog: "new"; projectId: string | null; isBeside: boolean } | null;

/** The dialogs that open from anywhere, and the actions that need no screen of their own. */
export function useDialogs(route: Route) {
  const [open, setOpen] = useState<Open>(null);
  const close = () => setOpen(null);
  const openNew = (projectId: string | null, isBeside = false) => setOpen({ dialog: "new", projectId, isBeside });
  const here = route.place === "session" ? projectOf(route.id) : null;
  const isPhone = useMedia(PHONE);
  useAction("palette", () => setOpen((now) => (now?.dialog === "palette" ? null : { dialog: "palette" })));
  useAction("shortcuts", () => setOpen({ dialog: "settings" }));
  useAction("preferences", () => setOpen({ dialog: "settings" }));
  useAction("session.new", () => openNew(here));
  useAction("session.beside", route.place === "session" && !isPhone && (() => setOpen({ dialog: "beside" })));
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
      {(open?.dialog === "palette" || open?.dialog === "beside") && (
        <Palette
          key={open.dialog}
          isBeside={open.dialog === "beside"}
          onNewBeside={() => openNew(here, true)}
          onClose={() => setOpen((now) => (now === open ? null : now))}
        />
      )}
      {open?.dialog === "settings" && <Settings onClose={close} />}
      {open?.dialog === "new" && <NewSession projectId={open.projectId} isBeside={open.isBeside} onClose={close} />}
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
    const at = route.place === "session" ? ids.indexOf(route.id) : by > 0 ? -1 : 0;
    for (let far = 1; far <= ids.length; far += 1) {
      const id = ids[(at + by * far + ids.length * far) % ids.length];
      if (id && isWanted(id)) return showSession(id);
    }
  };
  const isFree = (id: string) => route.place !== "session" || id === route.id || !route.ids.includes(id);
  const hasSessions = usePane((state) => state.sessions.length > 0);
  const isAsked = usePane((state) => state.sessions.some(({ id }) => activityIn(state, id) === "needs_you"));
  useAction("session.next", hasSessions && (() => step(1, isFree)));
  useAction("session.previous", hasSessions && (() => step(-1, isFree)));
  useAction("session.asking", isAsked && (() => step(1, (id) => activityIn(usePane.getState(), id) === "needs_you")));
}
