import { useEffect } from "react";

import { useAction } from "./actions.ts";
import { Agents } from "./agents.tsx";
import { Arena } from "./arena.tsx";
import { useNotifications, useTitle } from "./calls.ts";
import { Button, Spinner } from "./controls.tsx";
import { Divider, useWidth } from "./divider.tsx";
import { begin, keepCurrent } from "./follow.ts";
import { showTab, useLayout } from "./layout.ts";
import { LinkBanner } from "./link.tsx";
import { Login } from "./login.tsx";
import { Mark } from "./mark.tsx";
import { PHONE, useMedia } from "./media.ts";
import { NewSessionForm } from "./new-session.tsx";
import { applyPreferences } from "./preferences.ts";
import { useRoute } from "./route.ts";
import { useDialogs, useKeys } from "./shell.tsx";
import { Sidebar } from "./sidebar.tsx";
import { usePane } from "./store.ts";
import { Tabs } from "./tabs.tsx";

export function App() {
  const screen = usePane((state) => state.screen);
  useEffect(() => void begin(), []);
  useEffect(keepCurrent, []);
  useEffect(applyPreferences, []);
  if (screen === "login") return <Login />;
  if (screen === "ready") return <Shell />;
  return (
    <main className="grid h-full place-items-center text-faint">
      <Spinner className="size-5" />
    </main>
  );
}

const LIST = { name: "sessions", usual: 248, least: 180, most: 480 };

function Shell() {
  const route = useRoute();
  const isPhone = useMedia(PHONE);
  const { hasSessions, tab } = useLayout();
  const width = useWidth(LIST);
  const { dialogs, openNew, openSettings } = useDialogs(route);
  useKeys();
  useTitle(route);
  useNotifications();
  useAction("view.sessions", () => useLayout.setState(isPhone ? { tab: "sessions" } : { hasSessions: !hasSessions }));
  const at = route.place === "session" ? route.id : route.place;
  useEffect(() => showTab(at === "home" && usePane.getState().sessions.length > 0 ? "sessions" : "talk"), [at]);
  const sidebar = <Sidebar route={route} onNew={openNew} onSettings={openSettings} />;
  const isList = isPhone && tab === "sessions";
  return (
    <div className="flex h-full flex-col">
      <LinkBanner />
      <div className="flex min-h-0 flex-1">
        {!isPhone && hasSessions && (
          <div style={{ width }} className="shrink-0">
            {sidebar}
          </div>
        )}
        {isPhone && (
          <main className={isList ? "min-w-0 flex-1" : "hidden"}>
            <h1 className="sr-only">Sessions</h1>
            {sidebar}
          </main>
        )}
        <main className={`flex min-w-0 flex-1 bg-paper ${isList ? "hidden" : ""}`}>
          {!isPhone && hasSessions && <Divider {...LIST} label="Width of the sessions list" grows="left" />}
          <div className="min-w-0 flex-1">
            {route.place === "session" ? (
              <Arena route={route} />
            ) : route.place === "agents" ? (
              <Agents />
            ) : (
              <Home onNew={() => openNew(null)} />
            )}
          </div>
        </main>
      </div>
      {isPhone && <Tabs route={route} />}
      {dialogs}
    </div>
  );
}

function Home({ onNew }: { onNew: () => void }) {
  const projects = usePane((state) => state.projects);
  const sessions = usePane((state) => state.sessions);
  return (
    <div className="grid h-full place-items-center p-6">
      <div className="flex w-full max-w-md flex-col gap-5">
        <Mark className="size-9" />
        {projects.length === 0 ? (
          <>
            <div>
              <h1 className="text-xl font-semibold tracking-tight">Start with a repository</h1>
              <p className="mt-1.5 text-soft">
                Each session gets its own worktree of it. Agents work there; you look at what they changed and apply what you like.
              </p>
            </div>
            <NewSessionForm projectId={null} onDone={() => undefined} />
          </>
        ) : (
          <>
            <div>
              <h1 className="text-xl font-semibold tracking-tight">{sessions.length ? "Pick up where you were" : "Open the first session"}</h1>
              <p className="mt-1.5 text-soft">
                {sessions.length ? "Choose a session on the left, or begin another one." : "It gets its own worktree and branch; your checkout stays as it is."}
              </p>
            </div>
            <div>
              <Button look="solid" className="h-9 px-4 text-sm" onClick={onNew}>
                New session
              </Button>
            </div>
          </>
        )}
      </div>
    </div>
  );
}
