import { Bot, Columns2, LogOut, Plus, Search, Settings2, TriangleAlert } from "lucide-react";
import { useRef, useState, type MouseEvent } from "react";

import { useAction, useKeysOf } from "./actions.ts";
import { isUnread } from "./calls.ts";
import { openBeside, showSession } from "./columns.ts";
import { ActivityDot, Button, IconButton, Spinner } from "./controls.tsx";
import { logOut } from "./follow.ts";
import { matchOf } from "./fuzzy.ts";
import { Keys, useTip } from "./kbd.tsx";
import { showTab } from "./layout.ts";
import { LinkState } from "./link.tsx";
import { Mark } from "./mark.tsx";
import { marked } from "./marks.ts";
import { Plain } from "./plain.tsx";
import { usePreferences } from "./preferences.ts";
import type { Project, Session } from "./protocol.ts";
import { addressOf, alone, type Route } from "./route.ts";
import { listed } from "./session-list.ts";
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
  const [query, setQuery] = useState("");
  const found = sessions.filter((session) => isFound(query, session, projects));
  const tip = useTip("session.new", "New session");
  return (
    <nav aria-label="Sessions" className="flex h-full min-h-0 flex-col bg-paper">
      <div className="flex h-12 shrink-0 items-center gap-2 px-3.5">
        <a href={addressOf({ place: "home" })} title="Start" className="flex items-center gap-2 rounded-md">
          <Mark />
          <span className="text-base font-semibold tracking-tight">coder</span>
        </a>
        <IconButton label="New session" title={tip} className="ml-auto" onClick={() => onNew(null)}>
          <Plus aria-hidden className="size-4" />
        </IconButton>
      </div>
      {sessions.length > 0 && <SearchField query={query} setQuery={setQuery} first={listed(projects, found)[0]?.id} />}
      <div className="min-h-0 flex-1 overflow-y-auto px-2 pb-4">
        {trouble && (
          <p role="alert" className="m-1.5 flex gap-1.5 text-xs text-bad">
            <TriangleAlert aria-hidden className="mt-0.5 size-3.5 shrink-0" />
            {trouble}
          </p>
        )}
        {query.trim() && found.length === 0 && <p className="px-1.5 py-2 text-xs text-soft">No session is called that.</p>}
        {projects.map((project) => (
          <Group
            key={project.id}
            project={project}
            own={listed([project], found)}
            route={route}
            isSearched={query.trim() !== ""}
            onNew={() => onNew(project.id)}
          />
        ))}
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

function isFound(query: string, session: Session, projects: readonly Project[]): boolean {
  if (!query.trim()) return true;
  const project = projects.find(({ id }) => id === session.project_id)?.name ?? "";
  return matchOf(query, `${session.name} ${project} ${session.branch ?? ""}`) !== null;
}

function SearchField({ query, setQuery, first }: { query: string; setQuery: (query: string) => void; first: string | undefined }) {
  const box = useRef<HTMLInputElement>(null);
  const chord = useKeysOf("session.search")[0];
  useAction("session.search", () => box.current?.focus());
  return (
    <label className="mx-2.5 mb-1 flex h-8 items-center gap-2 rounded-md border border-line bg-surface px-2 focus-within:border-live">
      <Search aria-hidden className="size-3.5 shrink-0 text-faint" />
      <input
        ref={box}
        type="search"
        aria-label="Search sessions"
        placeholder="Search"
        value={query}
        onChange={(event) => setQuery(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape" && query) setQuery("");
          else if (event.key === "Enter" && first) showSession(first);
          else return;
          event.preventDefault();
        }}
        className="min-w-0 flex-1 bg-transparent text-xs outline-none"
      />
      <span className="max-md:hidden">
        {chord && <Keys chord={chord} />}
      </span>
    </label>
  );
}

interface GroupProps {
  project: Project;
  own: readonly Session[];
  route: Route;
  isSearched: boolean;
  onNew: () => void;
}

function Group({ project, own, route, isSearched, onNew }: GroupProps) {
  if (isSearched && own.length === 0) return null;
  return (
    <section aria-label={project.name} className="mt-3">
      <div className="group flex items-center gap-1 pr-0.5 pl-1.5">
        <h2 title={project.repo_path} className="min-w-0 flex-1 truncate text-xs font-medium text-faint">
          {project.name}
        </h2>
        <IconButton label={`New session in ${project.name}`} className="size-6" onClick={onNew}>
          <Plus aria-hidden className="size-3.5" />
        </IconButton>
      </div>
      {own.length === 0 && (
        <Button look="quiet" className="w-full justify-start px-1.5 text-faint" onClick={onNew}>
          No sessions yet: open the first
        </Button>
      )}
      <ul>
        {own.map((session) => (
          <SessionRow key={session.id} session={session} route={route} />
        ))}
      </ul>
    </section>
  );
}

function SessionRow({ session, route }: { session: Session; route: Route }) {
  const { id } = session;
  const activity = usePane((state) => activityIn(state, id));
  const name = usePane((state) => sessionIn(state, id)?.name ?? session.name);
  const seen = usePreferences((state) => state.seen);
  const isOpen = route.place === "session" && route.ids.includes(id);
  const isCurrent = isOpen && route.id === id;
  const isNew = usePane((state) => isUnread(state, id, seen)) && !isOpen;
  const canStandBeside = route.place === "session" && !isOpen;
  const open = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    showTab("talk");
    if (event.altKey) openBeside(id);
    else showSession(id);
  };
  return (
    <li className="group/row relative">
      <a
        href={addressOf(alone(id))}
        onClick={open}
        aria-current={isCurrent ? "page" : undefined}
        className={`flex h-8 items-center gap-2.5 rounded-md px-2 hover:bg-hover aria-[current]:bg-hover aria-[current]:font-medium max-md:h-11 ${isNew ? "font-semibold" : ""} ${isOpen ? "bg-sunken" : ""} ${canStandBeside ? "md:group-focus-within/row:pr-8 md:group-hover/row:pr-8 md:pointer-coarse:pr-8" : ""}`}
      >
        {session.state === "open" ? <ActivityDot activity={activity} /> : <Spinner className="size-3 text-faint" />}
        <span className="min-w-0 flex-1 truncate">
          <Plain text={name} />
        </span>
        {activity !== "idle" ? (
          <span
            className={`text-2xs ${activity === "needs_you" ? "font-medium text-ask" : activity === "failed" ? "text-bad" : "text-soft"}`}
            aria-hidden
          >
            {ACTIVITY[activity]}
          </span>
        ) : (
          isNew && <span className="rounded-full bg-live px-1.5 text-2xs font-medium text-on-ink">new</span>
        )}
      </a>
      {canStandBeside && (
        <IconButton
          label={`Open ${marked(name)} beside`}
          title="Open beside (Alt+click)"
          onClick={() => openBeside(id)}
          className="absolute top-1 right-1 size-6 opacity-0 group-hover/row:opacity-100 focus-visible:opacity-100 max-md:hidden pointer-coarse:opacity-100"
        >
          <Columns2 aria-hidden className="size-3.5" />
        </IconButton>
      )}
    </li>
  );
}
