import { ChevronRight, Undo2, X } from "lucide-react";
import { Suspense, lazy, useEffect, useState } from "react";

import { api, wordsOf } from "./api.ts";
import { Badge, Button, IconButton, Spinner, Trouble } from "./controls.tsx";
import type { View } from "./fold.ts";
import type { Change, ChangeDetail } from "./protocol.ts";
import { decide, decideAll, dismiss, usePane } from "./store.ts";
import { Wait } from "./tool.tsx";
import { OPERATION, countOf, splitPath } from "./words.ts";

const DiffText = lazy(() => import("./diff.tsx"));

/** What agents changed in the worktree, and the decisions about it. */
export function Changes({ id, view, onClose }: { id: string; view: View; onClose: () => void }) {
  const all = Object.values(view.facts.changes).sort((a, b) => (a.file_path < b.file_path ? -1 : 1));
  const pending = all.filter((change) => change.status === "pending");
  const applied = all.filter((change) => change.status === "applied").sort(newestFirst);
  const dropped = all.filter((change) => change.status === "rejected" || change.status === "reverted").sort(newestFirst);
  return (
    <aside aria-label="Changes" className="flex h-full min-h-0 flex-col bg-surface">
      <div className="flex h-12 shrink-0 items-center gap-2 border-b border-line px-3.5">
        <h2 className="font-semibold">Changes</h2>
        {pending.length > 0 && <Totals changes={pending} />}
        <IconButton label="Hide changes" className="ml-auto" onClick={onClose}>
          <X aria-hidden className="size-4" />
        </IconButton>
      </div>
      <div className="min-h-0 flex-1 overflow-y-auto">
        {pending.length > 0 && <DecideAll id={id} pending={pending} />}
        <ul>
          {pending.map((change) => (
            <ChangeRow key={change.id} change={change} />
          ))}
        </ul>
        {pending.length === 0 && (
          <p className="px-4 py-8 text-center text-sm text-faint">
            {applied.length ? "Nothing is waiting for a decision." : "No changes yet. When a turn ends, the files it changed appear here."}
          </p>
        )}
        <Decided title="Applied" changes={applied} />
        <Decided title="Rejected and reverted" changes={dropped} />
      </div>
    </aside>
  );
}

function newestFirst(a: Change, b: Change): number {
  return (a.decided_at ?? "") < (b.decided_at ?? "") ? 1 : -1;
}

function Totals({ changes }: { changes: readonly Change[] }) {
  const added = changes.reduce((sum, change) => sum + change.added_lines, 0);
  const deleted = changes.reduce((sum, change) => sum + change.deleted_lines, 0);
  return (
    <span className="flex items-center gap-2 text-xs text-faint">
      {countOf(changes.length, "file")}
      <Counts added={added} deleted={deleted} />
    </span>
  );
}

function Counts({ added, deleted }: { added: number; deleted: number }) {
  return (
    <span className="font-mono text-2xs tabular-nums">
      <span className="text-good">+{added}</span> <span className="text-bad">−{deleted}</span>
    </span>
  );
}

function DecideAll({ id, pending }: { id: string; pending: readonly Change[] }) {
  const deed = usePane((state) => state.deeds[`changes:${id}`]);
  const isBusy = deed?.state === "busy";
  const [isAsking, setAsking] = useState(false);
  return (
    <div className="flex flex-col gap-2 border-b border-line px-3.5 py-2.5">
      {isAsking ? (
        <Confirm
          words={`Put ${countOf(pending.length, "file")} back as before?`}
          verb="Reject all"
          onNo={() => setAsking(false)}
          onYes={() => {
            setAsking(false);
            void decideAll(id, "reject");
          }}
        />
      ) : (
        <div className="flex items-center gap-2">
          <Button look="solid" disabled={isBusy} onClick={() => void decideAll(id, "apply")}>
            {isBusy && <Spinner />} Apply all
          </Button>
          <Button disabled={isBusy} onClick={() => setAsking(true)}>
            Reject all
          </Button>
        </div>
      )}
      {deed?.state === "refused" && <Trouble words={deed.words} onDismiss={() => dismiss(`changes:${id}`)} />}
    </div>
  );
}

function Confirm({ words, verb, onYes, onNo }: { words: string; verb: string; onYes: () => void; onNo: () => void }) {
  return (
    <div role="group" aria-label={words} className="flex flex-wrap items-center gap-2">
      <span className="text-xs">{words}</span>
      <Button look="danger" autoFocus onClick={onYes}>
        {verb}
      </Button>
      <Button look="quiet" onClick={onNo}>
        Keep
      </Button>
    </div>
  );
}

const LETTERS: Record<Change["operation"], string> = {
  create: "text-good bg-good-soft",
  edit: "text-live bg-live-soft",
  delete: "text-bad bg-bad-soft",
  rename: "text-ask bg-ask-soft",
};

function ChangeRow({ change }: { change: Change }) {
  const [isOpen, setOpen] = useState(false);
  const [isAsking, setAsking] = useState(false);
  const deed = usePane((state) => state.deeds[`change:${change.id}`]);
  const isBusy = deed?.state === "busy";
  const { folder, name } = splitPath(change.file_path);
  const { letter, word } = OPERATION[change.operation];
  return (
    <li aria-label={change.file_path} className="border-b border-line">
      <div className="relative flex min-h-9 items-center gap-2 px-2.5 hover:bg-hover/60">
        <ChevronRight aria-hidden className={`size-3.5 shrink-0 text-faint transition-transform ${isOpen ? "rotate-90" : ""}`} />
        <span aria-hidden className={`grid size-4 shrink-0 place-items-center rounded-sm font-mono text-2xs font-semibold ${LETTERS[change.operation]}`}>
          {letter}
        </span>
        <button
          type="button"
          aria-expanded={isOpen}
          aria-label={`${word} ${change.file_path}`}
          title={change.old_path ? `${change.old_path} → ${change.file_path}` : change.file_path}
          onClick={() => setOpen(!isOpen)}
          className="flex min-w-0 flex-1 items-center gap-2 self-stretch py-1 text-left after:absolute after:inset-0 focus-visible:outline-offset-[-2px]"
        >
          <span className="flex min-w-0 flex-1 items-baseline font-mono text-xs">
            <span className="truncate text-faint">{folder}</span>
            <span className="max-w-full shrink-0 truncate">{name}</span>
          </span>
        </button>
        <Badge>{change.agent}</Badge>
        {change.is_binary ? (
          <span className="text-2xs text-faint">binary</span>
        ) : (
          <Counts added={change.added_lines} deleted={change.deleted_lines} />
        )}
        {change.status === "applied" && (
          <Button look="quiet" className="relative h-6 px-1.5" aria-label={`Revert ${change.file_path}`} disabled={isBusy} onClick={() => void decide(change, "revert")}>
            {isBusy ? <Spinner /> : <Undo2 aria-hidden className="size-3.5" />} Revert
          </Button>
        )}
      </div>
      {isOpen && <ChangeText id={change.id} />}
      {(deed?.state === "refused" || change.status === "pending") && (
        <div className="flex flex-col gap-2 px-2.5 pb-2">
          {isAsking ? (
            <Confirm
              words="Put this file back as before?"
              verb="Reject"
              onNo={() => setAsking(false)}
              onYes={() => {
                setAsking(false);
                void decide(change, "reject");
              }}
            />
          ) : (
            <div className="flex items-center gap-1.5 pl-[1.375rem]">
              {change.status === "pending" && (
                <>
                  <Button className="h-6" aria-label={`Apply ${change.file_path}`} disabled={isBusy} onClick={() => void decide(change, "apply")}>
                    Apply
                  </Button>
                  <Button look="quiet" className="h-6" aria-label={`Reject ${change.file_path}`} disabled={isBusy} onClick={() => setAsking(true)}>
                    Reject
                  </Button>
                </>
              )}
              {isBusy && <Spinner />}
            </div>
          )}
          {deed?.state === "refused" && <Trouble words={deed.words} onDismiss={() => dismiss(`change:${change.id}`)} />}
        </div>
      )}
    </li>
  );
}

/** What was decided stays in view, folded: a decision can be looked at and an apply taken back. */
function Decided({ title, changes }: { title: string; changes: readonly Change[] }) {
  if (changes.length === 0) return null;
  return (
    <details className="group/decided">
      <summary className="flex list-none items-center gap-2 px-2.5 py-2 text-xs font-medium text-soft hover:text-ink [&::-webkit-details-marker]:hidden">
        <ChevronRight aria-hidden className="size-3.5 text-faint transition-transform group-open/decided:rotate-90" />
        {title}
        <span className="text-faint">{changes.length}</span>
      </summary>
      <ul className="border-t border-line">
        {changes.map((change) => (
          <ChangeRow key={change.id} change={change} />
        ))}
      </ul>
    </details>
  );
}

function ChangeText({ id }: { id: string }) {
  const [detail, setDetail] = useState<ChangeDetail | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    setTrouble(null);
    api.change(id).then(
      (found) => isCurrent && setDetail(found),
      (error: unknown) => isCurrent && setTrouble(wordsOf(error)),
    );
    return () => {
      isCurrent = false;
    };
  }, [id, attempt]);
  if (trouble) {
    return (
      <div className="p-2.5">
        <Trouble words={trouble}>
          <Button look="danger" className="h-5" onClick={() => setAttempt(attempt + 1)}>
            Try again
          </Button>
        </Trouble>
      </div>
    );
  }
  if (!detail) return <Wait />;
  return (
    <div className="mb-2 border-y border-line bg-raised">
      {detail.old_path && (
        <p className="px-2.5 py-1.5 font-mono text-2xs text-faint">
          {detail.old_path} → {detail.file_path}
        </p>
      )}
      {detail.base_mode && detail.new_mode && detail.base_mode !== detail.new_mode && (
        <p className="px-2.5 py-1.5 font-mono text-2xs text-faint">
          mode {detail.base_mode} → {detail.new_mode}
        </p>
      )}
      {detail.is_binary ? (
        <p className="px-2.5 py-2 text-xs text-faint">A binary file; there is no text to compare.</p>
      ) : detail.hunks.length === 0 ? (
        <p className="px-2.5 py-2 text-xs text-faint">No line differs.</p>
      ) : (
        <Suspense fallback={<Wait />}>
          <DiffText text={detail.diff} />
        </Suspense>
      )}
    </div>
  );
}
