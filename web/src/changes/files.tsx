// The files that wait for a decision.

import { ChevronRight, ChevronsDownUp, ChevronsUpDown, Columns2, Rows2 } from "lucide-react";
import { useCallback, useMemo, useRef, useState } from "react";

import { Button, FIELD, IconButton, Spinner } from "../controls.tsx";
import type { Standing } from "../fold.ts";
import { isWriting } from "../keys.ts";
import type { Change } from "../protocol.ts";
import { countOf } from "../words.ts";
import { Counts } from "./badges.tsx";
import { isTurnRunning } from "./checkpoints.tsx";
import { allDeed, applyAll, rejectAll, useDeed } from "./deeds.ts";
import { File } from "./file.tsx";
import { Reason, Refusal } from "./notes.tsx";
import { useTarget } from "./target.ts";
import { useViewed, viewStateOf, withView } from "./viewed.ts";
import { clashesOf } from "./words.ts";

/** So many rows are drawn; the rest when asked for. */
const SHOWN = 300;
const OPENED = 30;
const FILTERED = 12;
const GROUPED = 6;

interface FilesProps {
  id: string;
  view: Standing;
  pending: readonly Change[];
  isSplit: boolean;
  onSplit: (isSplit: boolean) => void;
  onLedger: () => void;
}

export function Files({ id, view, pending, isSplit, onSplit, onLedger }: FilesProps) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [filter, setFilter] = useState("");
  const [shown, setShown] = useState(SHOWN);
  const [viewed, setViewed] = useViewed(id);
  const isRunning = isTurnRunning(view);
  const needle = filter.trim().toLowerCase();
  const found = needle ? pending.filter(({ file_path }) => file_path.toLowerCase().includes(needle)) : pending;
  const groups = useMemo(() => groupsOf(found.slice(0, shown)), [found, shown]);
  const openFile = useCallback((path: string, isOpen: boolean) => setOpen((known) => withEntry(known, path, isOpen)), []);
  const newest = useRef({ viewed, pending });
  newest.current = { viewed, pending };
  const mark = useCallback(
    (change: Change, isViewed: boolean) => {
      setViewed(withView(newest.current.viewed, change, isViewed, newest.current.pending));
      if (isViewed) openFile(change.file_path, false);
    },
    [setViewed, openFile],
  );
  if (pending.length === 0) return <Nothing view={view} onLedger={onLedger} />;
  const looked = pending.filter((change) => viewStateOf(viewed, change) === "viewed").length;
  const isAnyOpen = found.some(({ file_path }) => open.has(file_path));
  return (
    <div
      onKeyDown={(event) => {
        if (event.key !== "s" || event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
        event.preventDefault();
        onSplit(!isSplit);
      }}
    >
      <DecideAll id={id} pending={pending} chosen={needle ? found : null} isRunning={isRunning}>
        <span className="mr-1 hidden text-2xs text-faint tabular-nums @min-[22rem]:inline">
          {looked} of {pending.length} viewed
        </span>
        <IconButton
          label={isAnyOpen ? "Close all files" : "Open all files"}
          onClick={() => setOpen(isAnyOpen ? new Set() : new Set(found.slice(0, OPENED).map(({ file_path }) => file_path)))}
        >
          {isAnyOpen ? <ChevronsDownUp aria-hidden className="size-4" /> : <ChevronsUpDown aria-hidden className="size-4" />}
        </IconButton>
        <IconButton label="Split view" aria-pressed={isSplit} onClick={() => onSplit(!isSplit)}>
          {isSplit ? <Rows2 aria-hidden className="size-4" /> : <Columns2 aria-hidden className="size-4" />}
        </IconButton>
      </DecideAll>
      {pending.length > FILTERED && (
        <div className="border-b border-line px-2.5 py-1.5">
          <input
            type="search"
            aria-label="Find a file"
            placeholder="Find a file"
            value={filter}
            onChange={(event) => setFilter(event.target.value)}
            className={`${FIELD} h-7 text-xs`}
          />
        </div>
      )}
      <ul>
        {groups.map(({ folder, changes }) => (
          <Group
            key={folder}
            folder={groups.length > 1 ? folder : null}
            count={changes.length}
            isFolded={folded.has(folder)}
            onFold={(isFolded) => setFolded(withEntry(folded, folder, isFolded))}
          >
            {changes.map((change) => (
              <File
                key={change.file_path}
                change={change}
                comments={view.facts.comments}
                isOpen={open.has(change.file_path)}
                isSplit={isSplit}
                isRunning={isRunning}
                viewState={viewStateOf(viewed, change)}
                withoutFolder={groups.length > 1}
                onOpen={openFile}
                onView={mark}
              />
            ))}
          </Group>
        ))}
      </ul>
      {found.length === 0 && <p className="px-4 py-6 text-center text-xs text-faint">No such file waits.</p>}
      {found.length > shown && (
        <div className="p-2.5">
          <Button onClick={() => setShown(shown + SHOWN)}>Show more of {found.length} files</Button>
        </div>
      )}
    </div>
  );
}

function withEntry(known: ReadonlySet<string>, entry: string, isIn: boolean): ReadonlySet<string> {
  const next = new Set(known);
  if (isIn) next.add(entry);
  else next.delete(entry);
  return next;
}

/** Files by folder; a few of them stay one list. */
export function groupsOf(changes: readonly Change[]): { folder: string; changes: Change[] }[] {
  const groups = new Map<string, Change[]>();
  for (const change of changes) {
    const folder = changes.length < GROUPED ? "" : change.file_path.slice(0, change.file_path.lastIndexOf("/") + 1);
    groups.set(folder, [...(groups.get(folder) ?? []), change]);
  }
  return [...groups].map(([folder, members]) => ({ folder, changes: members }));
}

interface GroupProps {
  folder: string | null;
  count: number;
  isFolded: boolean;
  onFold: (isFolded: boolean) => void;
  children: React.ReactNode;
}

function Group({ folder, count, isFolded, onFold, children }: GroupProps) {
  if (folder === null) return children;
  return (
    <li>
      <button
        type="button"
        aria-expanded={!isFolded}
        onClick={() => onFold(!isFolded)}
        className="flex w-full items-center gap-2 border-b border-line bg-sunken/60 px-2.5 py-1 text-left font-mono text-2xs text-soft hover:bg-hover focus-visible:outline-offset-[-2px]"
      >
        <ChevronRight aria-hidden className={`size-3 shrink-0 text-faint transition-transform ${isFolded ? "" : "rotate-90"}`} />
        <span className="min-w-0 truncate">{folder || "./"}</span>
        <span className="text-faint tabular-nums">{count}</span>
      </button>
      {!isFolded && <ul aria-label={folder || "./"}>{children}</ul>}
    </li>
  );
}

function Nothing({ view, onLedger }: { view: Standing; onLedger: () => void }) {
  const isAnyDecided = Object.values(view.facts.changes).some(({ status }) => status === "applied" || status === "rejected" || status === "reverted");
  return (
    <div className="flex flex-col items-center gap-3 px-6 py-10 text-center text-sm text-faint">
      <p>{isAnyDecided ? "Nothing is waiting for a decision." : "No changes yet. When a turn ends, the files it changed appear here."}</p>
      {isAnyDecided && <Button onClick={onLedger}>See what was decided</Button>}
    </div>
  );
}

export function Totals({ changes }: { changes: readonly Change[] }) {
  const added = changes.reduce((sum, change) => sum + change.added_lines, 0);
  const deleted = changes.reduce((sum, change) => sum + change.deleted_lines, 0);
  return (
    <span className="flex items-center gap-2 text-xs text-faint">
      {countOf(changes.length, "file")}
      <Counts added={added} deleted={deleted} />
    </span>
  );
}

interface DecideAllProps {
  id: string;
  pending: readonly Change[];
  /** What is found by name; null where everything is meant. */
  chosen: readonly Change[] | null;
  isRunning: boolean;
  children: React.ReactNode;
}

function DecideAll({ id, pending, chosen, isRunning, children }: DecideAllProps) {
  const name = allDeed(id);
  const deed = useDeed(name);
  const target = useTarget();
  const isBusy = deed?.state === "busy";
  const [isAsking, setAsking] = useState(false);
  const count = (chosen ?? pending).length;
  const which = chosen ? `${count} found` : "all";
  const clashing = new Set(deed?.state === "refused" ? clashesOf(deed).map(({ filePath }) => filePath) : []);
  const fitting = pending.filter(({ file_path }) => !clashing.has(file_path));
  return (
    <div className="@container flex flex-col gap-2 border-b border-line px-2.5 py-2">
      <div className="flex items-center gap-2">
        <Button look="solid" disabled={isBusy || count === 0} onClick={() => void applyAll(id, chosen, target)}>
          {isBusy && <Spinner />} Apply {which}
        </Button>
        <Button disabled={isBusy || count === 0} onClick={() => setAsking(true)}>
          Reject {which}
        </Button>
        <span className="ml-auto flex items-center">{children}</span>
      </div>
      {isAsking && (
        <Reason
          question={`Put ${countOf(count, "file")} back as before?`}
          later={isRunning}
          verb={`Reject ${countOf(count, "file")}`}
          onNo={() => setAsking(false)}
          onYes={(reason) => {
            setAsking(false);
            void rejectAll(id, chosen, reason);
          }}
        />
      )}
      <Refusal
        name={name}
        deed={deed}
        again={
          <>
            <Button onClick={() => void applyAll(id, chosen, target)}>Try again</Button>
            {fitting.length > 0 && <Button onClick={() => void applyAll(id, fitting, target)}>Apply the {countOf(fitting.length, "file")} that may fit</Button>}
          </>
        }
      />
    </div>
  );
}
