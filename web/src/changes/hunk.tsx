// One hunk of a change, with what can be decided about it.

import { X } from "lucide-react";
import { useCallback, useRef, useState, type KeyboardEvent, type ReactNode } from "react";

import { Badge, Button, IconButton } from "../controls.tsx";
import { Lines } from "../diff/hunk.tsx";
import { languageOf } from "../diff/language.ts";
import { choiceOf, placeOf, withLines, type Selection, type Side } from "../diff/lines.ts";
import { isWriting } from "../keys.ts";
import type { Change, Hunk } from "../protocol.ts";
import { countOf } from "../words.ts";
import { apply, reject, useFileDeed } from "./deeds.ts";
import { Reason } from "./notes.tsx";
import { useTarget } from "./target.ts";
import { isHunkQueued } from "./words.ts";

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
  /** Show more of what stands around it. */
  onMore: () => void;
  below: (side: Side, line: number) => ReactNode;
}

export function HunkView({ hunk, change, number, isOnly, isSplit, isRunning, isParted, selected, setSelection, onComment, onMore, below }: HunkViewProps) {
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
    else if (event.key === "e") onMore();
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
        {isQueued && <Badge className="bg-raised text-soft">rejection queued</Badge>}
        {canDecide && (!isOnly || selected.length > 0) && (
          <PartButtons
            what={what}
            path={change.file_path}
            isSelection={selected.length > 0}
            isBusy={isBusy}
            onApply={() => void take()}
            onReject={() => setAsking(true)}
            onClear={() => select(selected, false)}
          />
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

interface PartButtonsProps {
  what: string;
  path: string;
  isSelection: boolean;
  isBusy: boolean;
  onApply: () => void;
  onReject: () => void;
  onClear: () => void;
}

function PartButtons({ what, path, isSelection, isBusy, onApply, onReject, onClear }: PartButtonsProps) {
  return (
    <>
      <Button size="small" aria-label={`Apply ${what} of ${path}`} disabled={isBusy} onClick={onApply}>
        Apply {isSelection && what}
      </Button>
      <Button look="quiet" size="small" aria-label={`Reject ${what} of ${path}`} disabled={isBusy} onClick={onReject}>
        Reject {isSelection && what}
      </Button>
      {isSelection && (
        <IconButton label="Clear the selection" onClick={onClear}>
          <X aria-hidden className="size-3" />
        </IconButton>
      )}
    </>
  );
}

/** To the first line that differs. */
function enter(lines: HTMLElement | null): void {
  const cell = lines?.querySelector<HTMLElement>('td[data-at]:not([data-mark=" "])') ?? lines?.querySelector<HTMLElement>("td[data-at]");
  cell?.focus();
}

