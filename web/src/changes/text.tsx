// The lines of one change, decided by hunk or line and commented on. Loaded when the first one is opened.

import { X } from "lucide-react";
import { useCallback, useEffect, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from "react";

import { api } from "../api.ts";
import { Badge, Button, IconButton, Trouble } from "../controls.tsx";
import { Lines } from "../diff/hunk.tsx";
import { languageOf } from "../diff/language.ts";
import { choiceOf, linesOf, placeOf, withLines, type Selection, type Side } from "../diff/lines.ts";
import { useFetched } from "../fetched.ts";
import type { Facts } from "../fold.ts";
import { isWriting } from "../keys.ts";
import type { Change, Comment, Hunk } from "../protocol.ts";
import { dismiss } from "../store.ts";
import { Wait } from "../tool.tsx";
import { countOf } from "../words.ts";
import { Place } from "./comments.tsx";
import { apply, beginComment, newCommentDeed, reject, useDeed, useFileDeed } from "./deeds.ts";
import { Reason } from "./notes.tsx";
import { useTarget } from "./target.ts";
import { Thread, WordsForm } from "./threads.tsx";
import { hasParts, isHunkQueued, notesOf, sidesOf } from "./words.ts";

interface ChangeTextProps {
  change: Change;
  comments: Facts["comments"];
  isSplit: boolean;
  isRunning: boolean;
}

export default function ChangeText({ change, comments, isSplit, isRunning }: ChangeTextProps) {
  const { value: detail, trouble, retry } = useFetched(`${change.id}\n${sidesOf(change)}`, () => api.change(change.id));
  const { deed } = useFileDeed(change);
  const [selection, setSelection] = useState<Selection>({});
  const [asked, setAsked] = useState<{ side: Side; line: number } | null>(null);
  const isPending = change.status === "pending";
  const isStale = deed?.state === "refused" && deed.code === "stale_hunk";
  useEffect(() => {
    if (!isStale) return;
    setSelection({});
    retry();
  }, [isStale, retry]);
  const threads = useMemo(
    () => (isPending ? Object.values(comments).filter(({ file_path }) => file_path === change.file_path) : []),
    [comments, change.file_path, isPending],
  );
  const below = useBelow(change, threads, asked, setAsked);
  const comment = useCallback((side: Side, line: number) => setAsked({ side, line }), []);
  if (trouble && !detail) {
    return (
      <div className="p-2.5">
        <Trouble words={trouble}>
          <Button look="danger" size="small" onClick={retry}>
            Try again
          </Button>
        </Trouble>
      </div>
    );
  }
  if (!detail) return <Wait />;
  const isParted = isPending && hasParts(detail);
  const shown = new Set(detail.hunks.flatMap((hunk) => linesOf(hunk).flatMap(({ base, fresh }) => [`base:${base}`, `new:${fresh}`])));
  const elsewhere = threads.filter(({ side, line }) => !shown.has(`${side}:${line}`));
  return (
    <div className="border-b border-line bg-raised">
      {notesOf(detail).map((note) => (
        <p key={note} className="border-t border-line px-3 py-1.5 text-xs break-words text-soft">
          {note}
        </p>
      ))}
      {detail.hunks.map((hunk, at) => (
        <HunkView
          key={hunk.id}
          hunk={hunk}
          change={change}
          number={at + 1}
          isOnly={detail.hunks.length === 1}
          isSplit={isSplit}
          isRunning={isRunning}
          isParted={isParted}
          selected={selection[hunk.id] ?? NONE}
          setSelection={setSelection}
          onComment={isPending && !detail.is_binary ? comment : undefined}
          below={below}
        />
      ))}
      {elsewhere.map((thread) => (
        <Thread key={thread.id} thread={thread} place={<Place thread={thread} />} />
      ))}
    </div>
  );
}

const NONE: readonly number[] = [];

/** What stands below a line: its threads, and the words that are being written about it. */
function useBelow(
  change: Change,
  threads: readonly Comment[],
  asked: { side: Side; line: number } | null,
  setAsked: (asked: null) => void,
): (side: Side, line: number) => ReactNode {
  return useCallback(
    (side: Side, line: number) => {
      const here = threads.filter((thread) => thread.side === side && thread.line === line);
      const isAsked = asked?.side === side && asked.line === line;
      if (here.length === 0 && !isAsked) return null;
      return (
        <div key={side}>
          {here.map((thread) => (
            <Thread key={thread.id} thread={thread} />
          ))}
          {isAsked && <NewComment change={change} side={side} line={line} onClose={() => setAsked(null)} />}
        </div>
      );
    },
    [change, threads, asked, setAsked],
  );
}

function NewComment({ change, side, line, onClose }: { change: Change; side: Side; line: number; onClose: () => void }) {
  const name = newCommentDeed(change.id, side, line);
  const deed = useDeed(name);
  const box = useRef<HTMLDivElement>(null);
  const close = () => {
    box.current?.closest("table")?.querySelector<HTMLElement>(`td[data-side="${side}"][data-line="${line}"]`)?.focus();
    onClose();
  };
  return (
    <div ref={box} className="m-2 flex flex-col gap-2 font-sans">
      <WordsForm
        name={`comment.${change.session_id}.${change.file_path}.${side}.${line}`}
        label={`Comment on line ${line}`}
        verb="Comment"
        isBusy={deed?.state === "busy"}
        onSend={(body) => beginComment(change, side, line, body)}
        onCancel={close}
      />
      {deed?.state === "refused" && <Trouble words={deed.words} onDismiss={() => dismiss(name)} />}
    </div>
  );
}

interface HunkViewProps {
  hunk: Hunk;
  change: Change;
  number: number;
  isOnly: boolean;
  isSplit: boolean;
  isRunning: boolean;
  /** Whether hunks and lines of it can be decided. */
  isParted: boolean;
  selected: readonly number[];
  setSelection: (change: (selection: Selection) => Selection) => void;
  onComment: ((side: Side, line: number) => void) | undefined;
  below: (side: Side, line: number) => ReactNode;
}

function HunkView({ hunk, change, number, isOnly, isSplit, isRunning, isParted, selected, setSelection, onComment, below }: HunkViewProps) {
  const [isAsking, setAsking] = useState(false);
  const head = useRef<HTMLButtonElement>(null);
  const lines = useRef<HTMLDivElement>(null);
  const { deed } = useFileDeed(change);
  const target = useTarget();
  const isBusy = deed?.state === "busy";
  const isQueued = isHunkQueued(change.queued, hunk.id);
  const canDecide = isParted && !isQueued;
  const place = placeOf(hunk.header);
  const select = useCallback(
    (chosen: readonly number[], isAdded: boolean) => setSelection((known) => withLines(known, hunk.id, chosen, isAdded)),
    [hunk.id, setSelection],
  );
  const part = selected.length ? [choiceOf(hunk, selected)] : isOnly ? null : [hunk.id];
  const what = selected.length ? countOf(selected.length, "line") : `hunk ${number}`;
  const take = async () => {
    if (isBusy || !canDecide) return;
    if (await apply(change, part, target)) select(selected, false);
  };
  const turnDown = async (reason: string | null) => {
    setAsking(false);
    head.current?.focus();
    if (await reject(change, part, reason)) select(selected, false);
  };
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
    const isOnLine = event.target instanceof HTMLElement && event.target.matches("td[data-at]");
    if (event.key === "Escape" && isOnLine) head.current?.focus();
    else if (event.key === "a" && canDecide) void take();
    else if (event.key === "r" && canDecide) setAsking(true);
    else if ((event.key === "Enter" || event.key === "ArrowRight") && event.target === head.current) enter(lines.current);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <section aria-label={`Hunk ${number} of ${change.file_path}`} onKeyDown={press} className="border-t border-line">
      <div className="sticky top-9 z-[1] flex min-h-8 items-center gap-1.5 border-b border-line/60 bg-paper pr-1.5 text-2xs">
        <button
          ref={head}
          type="button"
          data-stop="hunk"
          title="Enter walks through the lines"
          onClick={() => enter(lines.current)}
          className="flex min-w-0 flex-1 items-center gap-2 self-stretch px-3 text-left text-faint hover:text-ink focus-visible:outline-offset-[-2px]"
        >
          <span className="shrink-0 tabular-nums">
            {place.count > 1 ? `Lines ${place.fresh}–${place.fresh + place.count - 1}` : `Line ${place.fresh || place.base}`}
          </span>
          <span className="truncate font-mono">{place.context}</span>
        </button>
        {isQueued ? (
          <Badge className="bg-raised text-soft">rejection queued</Badge>
        ) : (
          isParted &&
          (!isOnly || selected.length > 0) && (
            <>
              <Button size="small" aria-label={`Apply ${what} of ${change.file_path}`} disabled={isBusy} onClick={() => void take()}>
                Apply {selected.length > 0 && what}
              </Button>
              <Button
                look="quiet"
                size="small"
                aria-label={`Reject ${what} of ${change.file_path}`}
                disabled={isBusy}
                onClick={() => setAsking(true)}
              >
                Reject {selected.length > 0 && what}
              </Button>
              {selected.length > 0 && (
                <IconButton label="Clear the selection" className="size-5" onClick={() => select(selected, false)}>
                  <X aria-hidden className="size-3" />
                </IconButton>
              )}
            </>
          )
        )}
      </div>
      {isAsking && (
        <div className="border-t border-line p-2">
          <Reason
            question={`Put ${selected.length ? what : "this part"} back as before?`}
            later={isRunning}
            verb="Reject"
            onYes={(reason) => void turnDown(reason)}
            onNo={() => {
              setAsking(false);
              head.current?.focus();
            }}
          />
        </div>
      )}
      <div ref={lines}>
        <Lines
          hunk={hunk}
          label={`Lines of hunk ${number} of ${change.file_path}`}
          language={languageOf(change.file_path)}
          isSplit={isSplit}
          selected={selected}
          onSelect={canDecide ? select : undefined}
          onComment={onComment}
          below={below}
        />
      </div>
    </section>
  );
}

/** To the first line that differs. */
function enter(lines: HTMLElement | null): void {
  const cell = lines?.querySelector<HTMLElement>('td[data-at]:not([data-mark=" "])') ?? lines?.querySelector<HTMLElement>("td[data-at]");
  cell?.focus();
}

