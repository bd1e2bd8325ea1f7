// The lines of one change, decided by hunk or line and commented on. Loaded when the first one is opened.

import { Fragment, useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from "react";

import { api } from "../api.ts";
import { Button, Trouble } from "../controls.tsx";
import { gapsOf, linesOf, type Gap, type Selection, type Side } from "../diff/lines.ts";
import { useFetched } from "../fetched.ts";
import type { Facts } from "../fold.ts";
import type { Change, ChangeDetail, Comment } from "../protocol.ts";
import { dismiss } from "../store.ts";
import { Wait } from "../tool.tsx";
import { Place } from "./comments.tsx";
import { GapView, nextOf, shownLines, useBetween } from "./context.tsx";
import { beginComment, newCommentDeed, useDeed, useFileDeed } from "./deeds.ts";
import { HunkView } from "./hunk.tsx";
import { Thread, WordsForm } from "./threads.tsx";
import { hasParts, notesOf, sidesOf } from "./words.ts";

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
  const between = useBetween(change);
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
  const gaps = isWhole(detail) ? [] : gapsOf(detail.hunks, between.total);
  const lines = [...detail.hunks.flatMap((hunk) => linesOf(hunk)), ...gaps.flatMap((gap) => (gap ? shownLines(gap, between) : []))];
  const shown = new Set(lines.flatMap(({ base, fresh }) => [`base:${base}`, `new:${fresh}`]));
  const onComment = isPending && !detail.is_binary ? comment : undefined;
  const showMore = (...around: [Gap | null, "start" | "end"][]) => {
    for (const [gap, from] of around) {
      const next = gap && nextOf(gap, between, from);
      if (next) between.ask(...next);
    }
  };
  const gapAt = (at: number) => {
    const gap = gaps[at];
    if (!gap) return null;
    const place = { hasAbove: at > 0, hasBelow: at < detail.hunks.length };
    return <GapView gap={gap} between={between} path={change.file_path} {...place} isSplit={isSplit} onComment={onComment} below={below} />;
  };
  const elsewhere = threads.filter(({ side, line }) => !shown.has(`${side}:${line}`));
  return (
    <div className="border-b border-line bg-raised">
      {notesOf(detail).map((note) => (
        <p key={note} className="border-t border-line px-3 py-1.5 text-xs break-words text-soft">
          {note}
        </p>
      ))}
      {detail.hunks.map((hunk, at) => (
        <Fragment key={hunk.id}>
          {gapAt(at)}
          <HunkView
            hunk={hunk}
            change={change}
            number={at + 1}
            isOnly={detail.hunks.length === 1}
            isSplit={isSplit}
            isRunning={isRunning}
            isParted={isParted}
            selected={selection[hunk.id] ?? NONE}
            setSelection={setSelection}
            onComment={onComment}
            onMore={() => showMore([gaps[at] ?? null, "end"], [gaps[at + 1] ?? null, "start"])}
            below={below}
          />
        </Fragment>
      ))}
      {gapAt(detail.hunks.length)}
      {elsewhere.map((thread) => (
        <Thread key={thread.id} thread={thread} place={<Place thread={thread} />} />
      ))}
    </div>
  );
}

const NONE: readonly number[] = [];

/** A file that is new or gone has nothing around its only hunk. */
function isWhole({ base_blob, new_blob, hunks }: ChangeDetail): boolean {
  return base_blob === null || new_blob === null || hunks.length === 0;
}

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
