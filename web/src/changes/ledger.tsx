// What was decided: by whom, when, what and why.

import { ArrowDownToLine, ChevronRight, GitMerge, History, Undo2, X, type LucideIcon } from "lucide-react";
import { Suspense, lazy, useState } from "react";

import { api } from "../api.ts";
import { Badge, Button, Spinner, Trouble } from "../controls.tsx";
import { useFetched } from "../fetched.ts";
import { byId, type Standing } from "../fold.ts";
import type { Change, Decision } from "../protocol.ts";
import { Wait } from "../tool.tsx";
import { OPERATION, clockOf } from "../words.ts";
import { Extent, Letter, Path } from "./badges.tsx";
import { revert, useDeed } from "./deeds.ts";
import { Refusal, Withdraw } from "./notes.tsx";
import { DECISION_STATE, decisionWords } from "./words.ts";

const ChangeText = lazy(() => import("./text.tsx"));

const ICONS: Record<Decision["verb"], LucideIcon> = {
  apply: ArrowDownToLine,
  reject: X,
  revert: Undo2,
  restore: History,
  update: GitMerge,
};

export function Ledger({ id, view }: { id: string; view: Standing }) {
  const { value, trouble, retry } = useFetched(`${id} ${view.facts.movedAt}`, async () => {
    const [decisions, changes] = await Promise.all([api.decisions(id), api.recentChanges(id)]);
    return { decisions, changes: byId(changes) };
  });
  if (trouble && !value) return <div className="p-2.5"><Trouble words={trouble}><Button onClick={retry}>Try again</Button></Trouble></div>;
  if (!value) return <Wait />;
  if (value.decisions.length === 0) {
    return <p className="px-6 py-10 text-center text-sm text-faint">Nothing was decided yet. What you apply and reject is kept here, with who, when and why.</p>;
  }
  const rows = Object.values({ ...value.changes, ...view.facts.changes });
  return (
    <ol className="flex flex-col py-1">
      {value.decisions.map((decision) => (
        <Entry key={decision.id} decision={decision} rows={rowsOf(decision, rows)} />
      ))}
    </ol>
  );
}

/** The rows that a decision made or is about. A later decision of the same row takes it over: then its picks name it. */
export function rowsOf(decision: Decision, rows: readonly Change[]): Change[] {
  const picked = new Set(decision.picks.map(({ change_id }) => change_id));
  const made = rows.filter((row) => row.decision_id === decision.id);
  const covered = new Set(made.flatMap((row) => [row.id, row.split_from]));
  const named = rows.filter((row) => picked.has(row.id) && !covered.has(row.id));
  return [...made, ...named].sort((a, b) => (a.file_path < b.file_path ? -1 : 1));
}

function Entry({ decision, rows }: { decision: Decision; rows: readonly Change[] }) {
  const [isOpen, setOpen] = useState(false);
  const Icon = ICONS[decision.verb];
  const words = decisionWords(decision, rows.map(({ file_path }) => file_path));
  const state = DECISION_STATE[decision.state];
  const only = rows.length === 1 ? rows[0] : undefined;
  return (
    <li aria-label={words} className="border-b border-line last:border-b-0">
      <div className="relative flex items-center gap-2 px-2.5 py-1.5 text-xs hover:bg-hover/60">
        <ChevronRight aria-hidden className={`size-3.5 shrink-0 text-faint transition-transform ${isOpen ? "rotate-90" : ""} ${rows.length ? "" : "invisible"}`} />
        <Icon aria-hidden className="size-3.5 shrink-0 text-faint" />
        <button
          type="button"
          data-stop="decision"
          aria-expanded={isOpen}
          disabled={rows.length === 0}
          onClick={() => setOpen(!isOpen)}
          className="min-w-0 flex-1 text-left after:absolute after:inset-0 focus-visible:outline-none focus-visible:after:outline-2 focus-visible:after:-outline-offset-2 focus-visible:after:outline-live disabled:cursor-default"
        >
          <span className="block truncate">{words}</span>
          <span className="block truncate text-2xs text-faint">
            {decision.by} · <time dateTime={decision.created_at}>{clockOf(decision.created_at)}</time>
            {decision.reason && ` · “${decision.reason}”`}
          </span>
        </button>
        {state && <Badge className={decision.state === "refused" ? "bg-bad-soft text-bad" : "bg-sunken text-soft"}>{state}</Badge>}
        <span className="relative">
          {decision.state === "queued" && <Withdraw id={decision.id} path={only?.file_path ?? "these files"} />}
          {only && <Revert change={only} decision={decision} />}
        </span>
      </div>
      {decision.error && <p className="px-2.5 pb-2 pl-10 text-xs text-bad">{decision.error.message}</p>}
      {only && <RevertRefusal change={only} />}
      {isOpen && rows.length > 0 && (
        <ul className="border-t border-line bg-surface pl-4">
          {rows.map((row) => (
            <Row key={row.id} change={row} decision={decision} isOnly={row === only} />
          ))}
        </ul>
      )}
    </li>
  );
}

function Row({ change, decision, isOnly }: { change: Change; decision: Decision; isOnly: boolean }) {
  const [isOpen, setOpen] = useState(isOnly);
  return (
    <li className="border-b border-line last:border-b-0">
      <div className="relative flex min-h-8 items-center gap-2 px-2.5">
        <Letter operation={change.operation} />
        <button
          type="button"
          data-stop="row"
          aria-expanded={isOpen}
          aria-label={`${OPERATION[change.operation].word} ${change.file_path}`}
          onClick={() => setOpen(!isOpen)}
          className="min-w-0 flex-1 py-1 text-left after:absolute after:inset-0 focus-visible:outline-none focus-visible:after:outline-2 focus-visible:after:-outline-offset-2 focus-visible:after:outline-live"
        >
          <Path path={change.file_path} />
        </button>
        <Extent change={change} />
        {!isOnly && (
          <span className="relative">
            <Revert change={change} decision={decision} />
          </span>
        )}
      </div>
      {!isOnly && <RevertRefusal change={change} />}
      {isOpen && (
        <Suspense fallback={<Wait />}>
          <ChangeText change={change} comments={{}} isSplit={false} isRunning={false} />
        </Suspense>
      )}
    </li>
  );
}

/** Offered where this very decision applied the change and nothing came after. */
function Revert({ change, decision }: { change: Change; decision: Decision }) {
  const deed = useDeed(`revert:${change.id}`);
  if (change.status !== "applied" || change.decision_id !== decision.id) return null;
  const isBusy = deed?.state === "busy";
  return (
    <Button size="small" aria-label={`Revert ${change.file_path}`} disabled={isBusy} onClick={() => void revert(change)}>
      {isBusy ? <Spinner /> : <Undo2 aria-hidden className="size-3.5" />} Revert
    </Button>
  );
}

function RevertRefusal({ change }: { change: Change }) {
  const name = `revert:${change.id}`;
  const deed = useDeed(name);
  if (deed?.state !== "refused") return null;
  return (
    <div className="px-2.5 pb-2">
      <Refusal name={name} deed={deed} again={<Button onClick={() => void revert(change)}>Try again</Button>} />
    </div>
  );
}
