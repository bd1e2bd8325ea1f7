// What agents changed in the worktree, and the decisions about it.

import { Keyboard, Maximize2, Minimize2, X } from "lucide-react";
import { useId, useRef, useState, type KeyboardEvent, type ReactNode } from "react";

import { useAction } from "../actions.ts";
import { BranchLine } from "../branch/line.tsx";
import { IconButton, Trouble } from "../controls.tsx";
import type { Standing } from "../fold.ts";
import { useKept } from "../kept.ts";
import { prefer, usePreferences } from "../preferences.ts";
import type { Change, Session } from "../protocol.ts";
import { editSession } from "../sessions.ts";
import { dismiss, usePane } from "../store.ts";
import { Checkpoints } from "./checkpoints.tsx";
import { Comments, openThreads } from "./comments.tsx";
import { applyAll } from "./deeds.ts";
import { Files, Totals } from "./files.tsx";
import { Keys, useKeptFocus, walk } from "./keys.tsx";
import { Ledger } from "./ledger.tsx";
import { TargetContext, type Target } from "./target.ts";

type Tab = "files" | "comments" | "checkpoints" | "decisions";

interface ChangesProps {
  id: string;
  view: Standing;
  onClose: () => void;
}

export function Changes({ id, view, onClose }: ChangesProps) {
  const [tab, setTab] = useState<Tab>("files");
  const isSplit = usePreferences((state) => state.isSplit);
  const [isFull, setFull] = useState(false);
  const [hasKeys, setKeys] = useState(false);
  const box = useRef<HTMLElement>(null);
  const name = useId();
  const pending = Object.values(view.facts.changes)
    .filter((change) => change.status === "pending")
    .sort((a, b) => (a.file_path < b.file_path ? -1 : 1));
  const [target, setTarget] = useKept<Target>(`coder.target.${id}`, "checkout");
  useKeptFocus(box);
  useAction("changes.apply", pending.length > 0 && (() => void applyAll(id, null, target)));
  useAction("changes.split", () => prefer({ isSplit: !isSplit }));
  useAction("changes.full", () => setFull(!isFull));
  useAction("changes.files", () => setTab("files"));
  useAction("changes.comments", () => setTab("comments"));
  useAction("changes.checkpoints", () => setTab("checkpoints"));
  useAction("changes.decisions", () => setTab("decisions"));
  useAction("changes.auto", () => void editSession(id, { auto_apply: !view.facts.session.auto_apply }));
  const press = (event: KeyboardEvent) => {
    if (event.key === "Escape" && isFull && !event.defaultPrevented) {
      event.preventDefault();
      setFull(false);
    }
    if (event.defaultPrevented || (event.target as Element).closest('[role="tablist"]')) return;
    walk(event, box.current);
  };
  return (
    <aside ref={box} aria-label="Changes" onKeyDown={press} className={`@container flex min-h-0 flex-col bg-surface ${isFull ? "fixed inset-0 z-30" : "h-full"}`}>
      <div className="flex h-12 shrink-0 items-center gap-2 border-b border-line px-3.5">
        <h2 className="font-semibold">Changes</h2>
        {pending.length > 0 && <Totals changes={pending} />}
        <span className="ml-auto flex items-center">
          <span className="hidden sm:contents">
            <IconButton label={isFull ? "Put changes beside the conversation" : "Changes over the whole window"} onClick={() => setFull(!isFull)}>
              {isFull ? <Minimize2 aria-hidden className="size-3.5" /> : <Maximize2 aria-hidden className="size-3.5" />}
            </IconButton>
          </span>
          <IconButton label="Hide changes" onClick={onClose}>
            <X aria-hidden className="size-4" />
          </IconButton>
        </span>
      </div>
      <BranchLine key={id} id={id} view={view} pending={pending.length} />
      <Tabs name={name} tab={tab} setTab={setTab} counts={{ files: pending.length, comments: openThreads(view).length }} />
      <div role="tabpanel" id={`${name}panel`} aria-labelledby={`${name}${tab}`} className="min-h-0 flex-1 overflow-y-auto">
        {tab === "files" && (
          <TargetContext value={target}>
            <Files
              id={id}
              view={view}
              pending={pending}
              isSplit={isSplit}
              onSplit={(next) => {
                prefer({ isSplit: next });
                if (next && box.current && box.current.clientWidth < SPLITTABLE && window.innerWidth > SPLITTABLE) setFull(true);
              }}
              onLedger={() => setTab("decisions")}
            />
          </TargetContext>
        )}
        {tab === "comments" && <Comments id={id} view={view} />}
        {tab === "checkpoints" && <Checkpoints id={id} view={view} />}
        {tab === "decisions" && <Ledger id={id} view={view} />}
      </div>
      {hasKeys && <Keys />}
      <Announcer changes={Object.values(view.facts.changes)} />
      <div className="flex h-9 shrink-0 items-center gap-2 border-t border-line px-2.5">
        <AutoApply session={view.facts.session} />
        <select
          aria-label="Where changes are applied"
          value={target}
          onChange={(event) => setTarget(event.target.value as Target)}
          className="ml-auto h-6 min-w-0 truncate rounded-md bg-transparent text-xs text-soft hover:bg-hover hover:text-ink"
        >
          <option value="checkout">Apply to your checkout</option>
          <option value="branch">Apply to the branch</option>
        </select>
        <span className="hidden sm:block">
          <IconButton label="Keys of the review" aria-expanded={hasKeys} onClick={() => setKeys(!hasKeys)}>
            <Keyboard aria-hidden className="size-4" />
          </IconButton>
        </span>
      </div>
    </aside>
  );
}

/** Pixels below which two columns are no pleasure. */
const SPLITTABLE = 640;

const TABS: readonly { id: Tab; label: string }[] = [
  { id: "files", label: "Files" },
  { id: "comments", label: "Comments" },
  { id: "checkpoints", label: "Checkpoints" },
  { id: "decisions", label: "Decisions" },
];

function Tabs({ name, tab, setTab, counts }: { name: string; tab: Tab; setTab: (tab: Tab) => void; counts: Partial<Record<Tab, number>> }) {
  const list = useRef<HTMLDivElement>(null);
  const press = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const next = TABS[(TABS.findIndex(({ id }) => id === tab) + step + TABS.length) % TABS.length];
    if (!next) return;
    setTab(next.id);
    list.current?.querySelector<HTMLElement>(`[id="${name}${next.id}"]`)?.focus();
  };
  return (
    <div ref={list} role="tablist" aria-label="About changes" onKeyDown={press} className="flex h-9 shrink-0 items-stretch gap-1 overflow-x-auto border-b border-line px-2">
      {TABS.map(({ id, label }) => (
        <button
          key={id}
          id={`${name}${id}`}
          type="button"
          role="tab"
          aria-selected={tab === id}
          aria-controls={`${name}panel`}
          tabIndex={tab === id ? 0 : -1}
          onClick={() => setTab(id)}
          className="flex items-center gap-1.5 border-b-2 border-transparent px-1.5 text-xs text-soft hover:text-ink focus-visible:outline-offset-[-2px] aria-selected:border-ink aria-selected:font-medium aria-selected:text-ink"
        >
          {label}
          <Count count={counts[id] ?? 0} />
        </button>
      ))}
    </div>
  );
}

function Count({ count }: { count: number }): ReactNode {
  return count > 0 && <span className="rounded-full bg-sunken px-1.5 text-2xs font-normal tabular-nums">{count}</span>;
}

/** For those who do not see a file leave the list. */
function Announcer({ changes }: { changes: readonly Change[] }) {
  let newest: Change | undefined;
  for (const change of changes) if (change.decided_at !== null && change.decided_at > (newest?.decided_at ?? "")) newest = change;
  return (
    <p role="status" className="sr-only">
      {newest && newest.status !== "superseded" && `${newest.file_path} is ${newest.status}`}
    </p>
  );
}

function AutoApply({ session }: { session: Session }) {
  const deed = usePane((state) => state.deeds[`session:${session.id}`]);
  const isOn = session.auto_apply;
  if (deed?.state === "refused") return <Trouble words={deed.words} onDismiss={() => dismiss(`session:${session.id}`)} />;
  return (
    <span className="flex min-w-0 items-center gap-2 text-xs">
      <button
        type="button"
        role="switch"
        aria-checked={isOn}
        aria-label="Apply automatically"
        disabled={deed?.state === "busy"}
        onClick={() => void editSession(session.id, { auto_apply: !isOn })}
        className={`relative h-4 w-7 shrink-0 rounded-full transition-colors ${isOn ? "bg-live" : "bg-line-strong"}`}
      >
        <span aria-hidden className={`absolute top-0.5 size-3 rounded-full bg-surface transition-[left] ${isOn ? "left-3.5" : "left-0.5"}`} />
      </button>
      <span aria-hidden className={`truncate ${isOn ? "" : "text-faint"}`}>
        {isOn ? "Applied by itself when a turn ends, secrets apart" : "Apply by itself when a turn ends"}
      </span>
    </span>
  );
}
