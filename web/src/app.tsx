import { useEffect, useState } from "react";

import { Agents } from "./agents.tsx";
import { Button, Spinner } from "./controls.tsx";
import { begin, keepCurrent } from "./follow.ts";
import { LinkBanner } from "./link.tsx";
import { Login } from "./login.tsx";
import { Mark } from "./mark.tsx";
import { NewSessionForm } from "./new-session.tsx";
import { applyPreferences } from "./preferences.ts";
import { useRoute, type Route } from "./route.ts";
import { MenuButton, SessionScreen } from "./session.tsx";
import { useDialogs, useKeys } from "./shell.tsx";
import { Sidebar } from "./sidebar.tsx";
import { activityIn, sessionIn, usePane } from "./store.ts";

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

function Shell() {
  const route = useRoute();
  const [isMenuOpen, setMenuOpen] = useState(false);
  const { dialogs, openNew, openSettings } = useDialogs(route);
  useKeys();
  useTitle(route);
  useEffect(() => setMenuOpen(false), [route.place, route.place === "session" ? route.id : ""]);
  const openMenu = () => setMenuOpen(true);
  const sidebar = (
    <Sidebar
      route={route}
      onNew={(projectId) => {
        setMenuOpen(false);
        openNew(projectId);
      }}
      onSettings={openSettings}
    />
  );
  return (
    <div className="flex h-full flex-col">
      <LinkBanner />
      <div className="flex min-h-0 flex-1">
        <div className="hidden w-60 shrink-0 border-r border-line md:block">{sidebar}</div>
        {isMenuOpen && (
          <div className="fixed inset-0 z-30 flex md:hidden">
            <div className="w-72 max-w-[85vw] border-r border-line shadow-raised">{sidebar}</div>
            <button type="button" aria-label="Hide sessions" className="flex-1 bg-[rgb(10_10_8/45%)]" onClick={() => setMenuOpen(false)} />
          </div>
        )}
        <main className="min-w-0 flex-1 bg-paper">
          {route.place === "session" ? (
            <SessionScreen key={route.id} id={route.id} onMenu={openMenu} />
          ) : (
            <div className="flex h-full flex-col">
              <div className="flex h-12 items-center px-3 md:hidden">
                <MenuButton onClick={openMenu} />
              </div>
              <div className="min-h-0 flex-1">
                {route.place === "agents" ? <Agents /> : <Home onNew={() => openNew(null)} />}
              </div>
            </div>
          )}
        </main>
      </div>
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

/** The tab says which session this is, and calls when one needs an answer. */
function useTitle(route: Route): void {
  const name = usePane((state) => (route.place === "session" ? sessionIn(state, route.id)?.name : undefined));
  const asking = usePane((state) => state.sessions.filter(({ id }) => activityIn(state, id) === "needs_you").length);
  useEffect(() => {
    const place = route.place === "agents" ? "Agents" : name;
    document.title = `${asking ? `(${asking}) ` : ""}${place ? `${place} · ` : ""}coder`;
  }, [route.place, name, asking]);
}
