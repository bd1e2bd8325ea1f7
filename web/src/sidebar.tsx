import { Bot, LogOut, Plus, Settings2, TriangleAlert } from "lucide-react";

import { ActivityDot, Button, IconButton, Spinner } from "./controls.tsx";
import { logOut } from "./follow.ts";
import { LinkState } from "./link.tsx";
import { Mark } from "./mark.tsx";
import type { Session } from "./protocol.ts";
import { addressOf, type Route } from "./route.ts";
import { activityIn, sessionIn, usePane } from "./store.ts";
import { ACTIVITY } from "./words.ts";

interface SidebarProps {
  route: Route;
  onNew: (projectId: string | null) => void;
  onSettings: () => void;
}

export function Sidebar({ route, onNew, onSettings }: SidebarProps) {
  const projects = usePane((state) => state.projects);
  const sessions = usePane((state) => state.sessions);
  const trouble = usePane((state) => state.trouble);
  return (
    <nav aria-label="Sessions" className="flex h-full min-h-0 flex-col bg-paper">
      <div className="flex h-12 shrink-0 items-center gap-2 px-3.5">
        <Mark />
        <span className="text-base font-semibold tracking-tight">coder</span>
      </div>
      <div className="px-2.5 pb-2">
        <Button className="h-8 w-full justify-start px-2" onClick={() => onNew(null)}>
          <Plus aria-hidden className="size-4" /> New session
        </Button>
      </div>
      <div className="min-h-0 flex-1 overflow-y-auto px-2 pb-4">
        {trouble && (
          <p role="alert" className="m-1.5 flex gap-1.5 text-xs text-bad">
            <TriangleAlert aria-hidden className="mt-0.5 size-3.5 shrink-0" />
            {trouble}
          </p>
        )}
        {projects.map((project) => {
          const own = sessions.filter((session) => session.project_id === project.id);
          return (
            <section key={project.id} aria-label={project.name} className="mt-3">
              <div className="group flex items-center gap-1 pr-0.5 pl-1.5">
                <h2 title={project.repo_path} className="min-w-0 flex-1 truncate text-xs font-medium text-faint">
                  {project.name}
                </h2>
                <IconButton
                  label={`New session in ${project.name}`}
                  className="size-6 opacity-60 group-hover:opacity-100"
                  onClick={() => onNew(project.id)}
                >
                  <Plus aria-hidden className="size-3.5" />
                </IconButton>
              </div>
              {own.length === 0 && <p className="px-1.5 py-1 text-xs text-faint">No sessions yet</p>}
              <ul>
                {newestFirst(own).map((session) => (
                  <SessionRow
                    key={session.id}
                    session={session}
                    isCurrent={route.place === "session" && route.id === session.id}
                  />
                ))}
              </ul>
            </section>
          );
        })}
      </div>
      <div className="flex shrink-0 flex-col gap-1 border-t border-line px-2.5 py-2">
        <a
          href={addressOf({ place: "agents" })}
          aria-current={route.place === "agents" ? "page" : undefined}
          className="flex h-8 items-center gap-2 rounded-md px-2 text-soft hover:bg-hover hover:text-ink aria-[current]:bg-hover aria-[current]:text-ink"
        >
          <Bot aria-hidden className="size-4" /> Agents
        </a>
        <div className="flex items-center justify-between pl-2.5">
          <LinkState />
          <span className="flex items-center">
            <IconButton label="Preferences" className="size-6" onClick={onSettings}>
              <Settings2 aria-hidden className="size-3.5" />
            </IconButton>
            <IconButton label="Log out" className="size-6" onClick={() => void logOut()}>
              <LogOut aria-hidden className="size-3.5" />
            </IconButton>
          </span>
        </div>
      </div>
    </nav>
  );
}

function newestFirst(sessions: Session[]): Session[] {
  return [...sessions].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
}

function SessionRow({ session, isCurrent }: { session: Session; isCurrent: boolean }) {
  const activity = usePane((state) => activityIn(state, session.id));
  const name = usePane((state) => sessionIn(state, session.id)?.name ?? session.name);
  return (
    <li>
      <a
        href={addressOf({ place: "session", id: session.id })}
        aria-current={isCurrent ? "page" : undefined}
        className="flex h-8 items-center gap-2.5 rounded-md px-2 hover:bg-hover aria-[current]:bg-hover aria-[current]:font-medium"
      >
        {session.state === "open" ? <ActivityDot activity={activity} /> : <Spinner className="size-3 text-faint" />}
        <span className="min-w-0 flex-1 truncate">{name}</span>
        {activity !== "idle" && (
          <span
            className={`text-2xs ${activity === "needs_you" ? "font-medium text-ask" : activity === "failed" ? "text-bad" : "text-faint"}`}
            aria-hidden
          >
            {ACTIVITY[activity]}
          </span>
        )}
      </a>
    </li>
  );
}
