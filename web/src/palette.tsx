// Every action by name: what can be done here, and every session and agent to go to.

import { useEffect, useMemo, useRef, useState, type ReactNode } from "react";

import { ACTIONS, keysOf, useRuns } from "./actions.ts";
import { openBeside, showSession } from "./columns.ts";
import { ActivityDot } from "./controls.tsx";
import { ranked, type Match } from "./fuzzy.ts";
import { Keys } from "./kbd.tsx";
import { usePreferences } from "./preferences.ts";
import { useRoute } from "./route.ts";
import { activityIn, sessionIn, usePane, type Pane } from "./store.ts";

interface Entry {
  id: string;
  group: string;
  title: string;
  aside: ReactNode;
  run: () => void;
  /** What it does with Alt held. */
  runBeside?: () => void;
}

interface PaletteProps {
  /** Only what can stand beside this session is listed. */
  isBeside: boolean;
  onNewBeside: () => void;
  onClose: () => void;
}

export default function Palette({ isBeside, onNewBeside, onClose }: PaletteProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState(0);
  const everything = useEntries();
  const beside = useBeside(onNewBeside);
  const entries = isBeside ? beside : everything;
  const found = useMemo(() => {
    const all = ranked(query, entries, ({ group, title }) => `${title} ${group}`);
    if (query.trim()) return all;
    return all.filter(({ thing }) => thing.id !== "palette" && !thing.id.startsWith("permission."));
  }, [query, entries]);
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    document.getElementById(`palette-${chosen}`)?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
  const run = (entry: Entry | undefined, { altKey }: { altKey: boolean }) => {
    if (!entry) return;
    dialog.current?.close();
    if (altKey && entry.runBeside) entry.runBeside();
    else entry.run();
  };
  const label = isBeside ? "Open beside" : "Commands";
  const move = (by: number) => found.length && setChosen((chosen + by + found.length) % found.length);
  return (
    <dialog
      ref={dialog}
      aria-label={label}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
      className="mt-[12vh] w-[min(36rem,calc(100vw-1.5rem))] overflow-hidden rounded-lg border border-line bg-surface shadow-raised"
    >
      <input
        autoFocus
        role="combobox"
        aria-label={isBeside ? "Search sessions to open beside" : "Search commands and sessions"}
        aria-expanded
        aria-controls="palette-list"
        aria-activedescendant={found.length ? `palette-${chosen}` : undefined}
        placeholder={isBeside ? "Which session should stand beside this one?" : "What should be done?"}
        value={query}
        spellCheck={false}
        onChange={(event) => {
          setQuery(event.target.value);
          setChosen(0);
        }}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === "ArrowDown") move(1);
          else if (event.key === "ArrowUp") move(-1);
          else if (event.key === "Enter") run(found[chosen]?.thing, event);
          else return;
          event.preventDefault();
        }}
        className="h-12 w-full border-b border-line bg-transparent px-4 text-base outline-none"
      />
      <ul id="palette-list" role="listbox" aria-label={label} className="max-h-[min(24rem,60vh)] overflow-y-auto p-1.5">
        {found.map(({ thing, match }, at) => (
          <li
            key={thing.id}
            id={`palette-${at}`}
            role="option"
            aria-selected={at === chosen}
            onPointerMove={() => at !== chosen && setChosen(at)}
            onClick={(event) => run(thing, event)}
            className={`flex h-9 cursor-pointer items-center gap-2 rounded-md px-2.5 ${at === chosen ? "bg-hover" : ""}`}
          >
            <span className="min-w-0 flex-1 truncate">
              <Found text={thing.title} match={match} />
            </span>
            <span className="text-2xs text-soft">{thing.group}</span>
            {thing.aside}
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className="px-4 pb-4 text-soft">Nothing is called that. Try another word.</p>}
      <p role="status" className="sr-only">
        {found.length} found
      </p>
    </dialog>
  );
}

function Found({ text, match }: { text: string; match: Match }) {
  if (match.at.length === 0) return text;
  const marked = new Set(match.at);
  return [...text].map((letter, at) => (marked.has(at) ? <b key={at} className="font-semibold text-live">{letter}</b> : letter));
}

function useEntries(): Entry[] {
  const runs = useRuns();
  const bindings = usePreferences((state) => state.bindings);
  const pane = usePane();
  return useMemo(() => {
    const actions = Object.entries(ACTIONS).flatMap(([id, { title, group }]): Entry[] => {
      const run = runs[id];
      const keys = keysOf(id, bindings)[0];
      return run ? [{ id, group, title, run, aside: keys && <Keys chord={keys} /> }] : [];
    });
    return [...sessionsOf(pane), ...actions];
  }, [runs, bindings, pane]);
}

function sessionsOf(pane: Pane): Entry[] {
  const projects = Object.fromEntries(pane.projects.map(({ id, name }) => [id, name]));
  return pane.sessions.map((session) => ({
    id: session.id,
    group: projects[session.project_id] ?? "Session",
    title: sessionIn(pane, session.id)?.name ?? session.name,
    run: () => showSession(session.id),
    runBeside: () => openBeside(session.id),
    aside: <ActivityDot activity={activityIn(pane, session.id)} />,
  }));
}

/** The sessions that are not shown yet, and a new one. */
function useBeside(onNew: () => void): Entry[] {
  const pane = usePane();
  const route = useRoute();
  return useMemo(() => {
    const open = route.place === "session" ? route.ids : [];
    const others = sessionsOf(pane).filter(({ id }) => !open.includes(id));
    return [...others.map((entry) => ({ ...entry, run: entry.runBeside ?? entry.run })), { id: "new", group: "Sessions", title: "New session", run: onNew, aside: null }];
  }, [pane, route, onNew]);
}
