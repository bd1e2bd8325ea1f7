// What stands between the hunks, shown when asked for.

import { ArrowDownToLine, ArrowUpToLine, UnfoldVertical } from "lucide-react";
import { useMemo, useState, type ReactNode } from "react";

import { api, wordsOf } from "../api.ts";
import { Button, Spinner, Trouble } from "../controls.tsx";
import { Lines } from "../diff/hunk.tsx";
import { languageOf } from "../diff/language.ts";
import type { Gap, HunkText, Side } from "../diff/lines.ts";
import type { Change } from "../protocol.ts";
import { countOf } from "../words.ts";
import { sidesOf } from "./words.ts";

const STEP = 20;
const ALL = 5000;

interface Known {
  readonly key: string;
  readonly lines: ReadonlyMap<number, string>;
  readonly total: number | null;
}

export interface Between extends Known {
  readonly isBusy: boolean;
  readonly trouble: string | null;
  readonly ask: (first: number, count: number) => void;
}

/** Lines of the change's new side that were asked for; forgotten when the change is another one. */
export function useBetween(change: Change): Between {
  const key = `${change.id}\n${sidesOf(change)}`;
  const [known, setKnown] = useState<Known>({ key, lines: new Map(), total: null });
  const [isBusy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const current = known.key === key ? known : { key, lines: NONE, total: null };
  const ask = async (first: number, count: number) => {
    setBusy(true);
    setTrouble(null);
    try {
      const { blob, lines, total } = await api.changeLines(change.id, first, count);
      // Of another text than the one that is shown: its hunks are on their way.
      if (blob !== change.new_blob) return;
      setKnown((before) => {
        const all = new Map(before.key === key ? before.lines : NONE);
        lines.forEach((line, at) => all.set(first + at, line));
        return { key, lines: all, total };
      });
    } catch (error) {
      setTrouble(wordsOf(error));
    } finally {
      setBusy(false);
    }
  };
  return { ...current, isBusy, trouble, ask: (first, count) => void ask(first, count) };
}

const NONE: ReadonlyMap<number, string> = new Map();

interface GapViewProps {
  gap: Gap;
  between: Between;
  path: string;
  /** Whether a hunk stands above it, below it. */
  hasAbove: boolean;
  hasBelow: boolean;
  isSplit: boolean;
  onComment: ((side: Side, line: number) => void) | undefined;
  below: (side: Side, line: number) => ReactNode;
}

export function GapView({ gap, between, path, hasAbove, hasBelow, isSplit, onComment, below }: GapViewProps) {
  const { head, tail, first, last } = useMemo(() => shownOf(gap, between.lines), [gap, between.lines]);
  const left = last === null ? null : last - first + 1;
  const text = (start: number, lines: readonly string[]) =>
    lines.length > 0 && <Text start={start} lines={lines} shift={gap.shift} path={path} isSplit={isSplit} onComment={onComment} below={below} />;
  const more = (from: "start" | "end") => () => {
    const next = nextOf(gap, between, from);
    if (next) between.ask(...next);
  };
  return (
    <>
      {text(gap.from, head)}
      {left !== 0 && (
        <div role="group" aria-label={`Left out from line ${first}`} className="flex min-h-7 flex-wrap items-center gap-1 border-t border-line bg-sunken/50 px-2 text-faint">
          {left !== null && left <= STEP ? (
            <More label={`Show ${countOf(left, "line")} from line ${first}`} icon={<UnfoldVertical aria-hidden className="size-3" />} onClick={more("start")}>
              Show {countOf(left, "line")}
            </More>
          ) : (
            <>
              {hasAbove && (
                <More label={`${STEP} more lines from line ${first}`} icon={<ArrowDownToLine aria-hidden className="size-3" />} onClick={more("start")}>
                  {STEP} more
                </More>
              )}
              {hasBelow && last !== null && (
                <More label={`${STEP} more lines up to line ${last}`} icon={<ArrowUpToLine aria-hidden className="size-3" />} onClick={more("end")}>
                  {STEP} more
                </More>
              )}
              <More label={`All${left === null ? "" : ` ${left}`} lines from line ${first}`} icon={<UnfoldVertical aria-hidden className="size-3" />} onClick={() => between.ask(first, left ?? ALL)}>
                All{left === null ? "" : ` ${left}`}
              </More>
            </>
          )}
          {between.isBusy && <Spinner />}
        </div>
      )}
      {text((last ?? 0) + 1, tail)}
      {between.trouble && left !== 0 && (
        <div className="p-2">
          <Trouble words={between.trouble} />
        </div>
      )}
    </>
  );
}

function More({ label, icon, onClick, children }: { label: string; icon: ReactNode; onClick: () => void; children: ReactNode }) {
  return (
    <Button look="quiet" size="small" aria-label={label} title={label} onClick={onClick}>
      {icon} {children}
    </Button>
  );
}

interface Shown {
  readonly head: readonly string[];
  readonly tail: readonly string[];
  /** What is left out; `last` is null where nobody knows yet where the text ends. */
  readonly first: number;
  readonly last: number | null;
}

/** What is known from the gap's beginning on, and up to its end. */
function shownOf({ from, to }: Gap, lines: ReadonlyMap<number, string>): Shown {
  const head: string[] = [];
  const tail: string[] = [];
  let first = from;
  let last = to;
  for (; (to === null || first <= to) && lines.has(first); first += 1) head.push(lines.get(first) ?? "");
  if (last !== null) for (; last >= first && lines.has(last); last -= 1) tail.unshift(lines.get(last) ?? "");
  return { head, tail, first, last };
}

/** What to ask for next at one end of a gap: from which line, and how many; null where nothing is left out. */
export function nextOf(gap: Gap, between: Between, from: "start" | "end"): [first: number, count: number] | null {
  const { first, last } = shownOf(gap, between.lines);
  if (last === null) return from === "start" ? [first, STEP] : null;
  const count = Math.min(STEP, last - first + 1);
  if (count <= 0) return null;
  return [from === "start" ? first : last - count + 1, count];
}

/** The numbers of the lines that are shown, on both sides. */
export function shownLines(gap: Gap, between: Between): { base: number; fresh: number }[] {
  const { head, tail, last } = shownOf(gap, between.lines);
  const numbers = [...head.map((_, at) => gap.from + at), ...tail.map((_, at) => (last ?? 0) + 1 + at)];
  return numbers.map((fresh) => ({ fresh, base: fresh + gap.shift }));
}

type TextProps = Pick<GapViewProps, "path" | "isSplit" | "onComment" | "below"> & { start: number; shift: number; lines: readonly string[] };

function Text({ start, shift, lines, path, isSplit, onComment, below }: TextProps) {
  const hunk: HunkText = useMemo(
    () => ({ header: `@@ -${start + shift},${lines.length} +${start},${lines.length} @@`, lines: lines.map((line) => ` ${line}`) }),
    [start, shift, lines],
  );
  return (
    <div className="border-t border-line">
      <Lines hunk={hunk} label={`Lines ${start} to ${start + lines.length - 1} of ${path}`} language={languageOf(path)} isSplit={isSplit} onComment={onComment} below={below} />
    </div>
  );
}
