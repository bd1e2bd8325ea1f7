// The lines of a diff: their numbers, which of them stand beside which, and the words that differ between two.

import { stepsOf } from "./unified.ts";

export type Side = "base" | "new";

/** What a hunk is drawn from: the host's hunk, or one of a text that an agent gave. */
export interface HunkText {
  readonly header: string;
  readonly lines: readonly string[];
}

/** One line of a hunk. `at` is its place in the hunk's `lines`; the line numbers count from 1. */
export interface DiffLine {
  readonly at: number;
  readonly mark: " " | "+" | "-";
  readonly text: string;
  readonly base: number | null;
  readonly fresh: number | null;
  /** The text ends here without a line end. */
  readonly isUnended: boolean;
}

/** Two lines beside each other; a context line is on both sides. */
export interface DiffPair {
  readonly left: DiffLine | null;
  readonly right: DiffLine | null;
}

/** Characters of a line, from and up to. */
export type Span = readonly [number, number];

const HEADER = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)$/;
const LONGEST = 1_000;
const ALIKE = 0.4;

export interface HunkPlace {
  readonly base: number;
  readonly fresh: number;
  readonly count: number;
  /** What git says the hunk is in: a function's head, for example. */
  readonly context: string;
}

export function placeOf(header: string): HunkPlace {
  const [, base = "1", , fresh = "1", count = "1", context = ""] = HEADER.exec(header) ?? [];
  return { base: Number(base), fresh: Number(fresh), count: Number(count), context: context.trim() };
}

/** Lines that stand on both sides and in no hunk. They are numbered as on the new side; `shift` leads to the base's numbers. */
export interface Gap {
  readonly from: number;
  /** The last one; null where nobody knows yet how long the text is. */
  readonly to: number | null;
  readonly shift: number;
}

const CONTEXT = 3;

/** What is left out before each hunk and after the last one, null where nothing is. `total` counts the new side's lines. */
export function gapsOf(hunks: readonly HunkText[], total: number | null): (Gap | null)[] {
  const gaps: (Gap | null)[] = [];
  let from = 1;
  let shift = 0;
  for (const { header, lines } of hunks) {
    const { base, fresh } = placeOf(header);
    const count = (marks: string) => lines.filter((line) => marks.includes(line.charAt(0))).length;
    const [old, added] = [count(" -"), count(" +")];
    // git names the line before a place that holds none
    const start = added === 0 ? fresh + 1 : fresh;
    gaps.push(start > from ? { from, to: start - 1, shift } : null);
    from = start + added;
    shift = (old === 0 ? base + 1 : base) + old - from;
  }
  const tail = hunks.at(-1)?.lines.toReversed() ?? [];
  const isAtEnd = total === null ? tail.findIndex((line) => !line.startsWith(" ")) < CONTEXT : from > total;
  gaps.push(isAtEnd ? null : { from, to: total, shift });
  return gaps;
}

export function linesOf(hunk: HunkText): DiffLine[] {
  const place = placeOf(hunk.header);
  let { base, fresh } = place;
  const found: DiffLine[] = [];
  hunk.lines.forEach((line, at) => {
    const mark = line.charAt(0);
    const text = line.slice(1);
    if (mark === "\\") {
      const last = found.pop();
      if (last) found.push({ ...last, isUnended: true });
    } else if (mark === "+") {
      found.push({ at, mark, text, base: null, fresh: fresh++, isUnended: false });
    } else if (mark === "-") {
      found.push({ at, mark, text, base: base++, fresh: null, isUnended: false });
    } else {
      found.push({ at, mark: " ", text, base: base++, fresh: fresh++, isUnended: false });
    }
  });
  return found;
}

/** Old lines on the left, new ones on the right; of replaced lines the first stands beside the first. */
export function pairsOf(lines: readonly DiffLine[]): DiffPair[] {
  const pairs: DiffPair[] = [];
  let left: DiffLine[] = [];
  let right: DiffLine[] = [];
  const flush = () => {
    for (let at = 0; at < Math.max(left.length, right.length); at += 1) pairs.push({ left: left[at] ?? null, right: right[at] ?? null });
    left = [];
    right = [];
  };
  for (const line of lines) {
    if (line.mark === "-") left.push(line);
    else if (line.mark === "+") right.push(line);
    else {
      flush();
      pairs.push({ left: line, right: line });
    }
  }
  flush();
  return pairs;
}

/** The words that differ, by the line's `at`. Lines that have little in common are left alone. */
export function wordsOf(lines: readonly DiffLine[]): Map<number, readonly Span[]> {
  const found = new Map<number, readonly Span[]>();
  for (const { left, right } of pairsOf(lines)) {
    if (!left || !right || left === right) continue;
    const changed = changedWords(left.text, right.text);
    if (!changed) continue;
    found.set(left.at, changed.before);
    found.set(right.at, changed.after);
  }
  return found;
}

export function changedWords(before: string, after: string): { before: Span[]; after: Span[] } | null {
  if (before.length > LONGEST || after.length > LONGEST || before === after) return null;
  const steps = stepsOf(wordsIn(before), wordsIn(after));
  const same = steps.reduce((sum, { mark, line }) => (mark === " " ? sum + line.trim().length : sum), 0);
  if (same < ALIKE * Math.max(before.trim().length, after.trim().length)) return null;
  const spans = { before: [] as Span[], after: [] as Span[] };
  let old = 0;
  let fresh = 0;
  for (const { mark, line } of steps) {
    if (mark === "-") extend(spans.before, old, old + line.length, before);
    if (mark === "+") extend(spans.after, fresh, fresh + line.length, after);
    if (mark !== "+") old += line.length;
    if (mark !== "-") fresh += line.length;
  }
  return spans;
}

function wordsIn(text: string): string[] {
  return text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? [];
}

/** Spans with nothing but blanks between them are one. */
function extend(spans: Span[], from: number, to: number, text: string): void {
  const last = spans.at(-1);
  if (last && text.slice(last[1], from).trim() === "") spans[spans.length - 1] = [last[0], to];
  else spans.push([from, to]);
}

/** A piece of a line that looks the same throughout. */
export interface Piece {
  readonly text: string;
  readonly isChanged: boolean;
  readonly look: string | null;
}

/** A piece of coloured text; the pieces of a line make up the line. */
export interface Token {
  readonly text: string;
  readonly look: string | null;
}

/** The line cut where its colour or what changed begins and ends. */
export function piecesOf(text: string, spans: readonly Span[], tokens: readonly Token[] | undefined): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const token of tokens ?? [{ text, look: null }]) {
    const end = at + token.text.length;
    let from = at;
    for (const [start, stop] of spans) {
      if (stop <= from || start >= end) continue;
      if (start > from) pieces.push({ text: text.slice(from, start), isChanged: false, look: token.look });
      const to = Math.min(stop, end);
      pieces.push({ text: text.slice(Math.max(start, from), to), isChanged: true, look: token.look });
      from = to;
    }
    if (from < end) pieces.push({ text: text.slice(from, end), isChanged: false, look: token.look });
    at = end;
  }
  return pieces;
}

// Bidirectional controls, invisible characters, and controls that are no tab.
// oxlint-disable-next-line no-control-regex
const HIDDEN = /([\u0000-\u0008\u000a-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff])/u;

/** The text with what cannot be seen apart: every second part is one such character. */
export function seenParts(text: string): string[] {
  return text.split(HIDDEN);
}

export function nameOfHidden(character: string): string {
  if (character === "\r") return "CR";
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** The hunks of a unified diff, which may be of several files. */
export function parsedHunks(diff: string): HunkText[] {
  const hunks: { header: string; lines: string[] }[] = [];
  const lines = diff.split("\n");
  if (lines.at(-1) === "") lines.pop();
  let isInside = false;
  for (const line of lines) {
    if (HEADER.test(line)) {
      hunks.push({ header: line, lines: [] });
      isInside = true;
    } else if (isInside && /^[ +\-\\]/.test(line)) {
      hunks.at(-1)?.lines.push(line);
    } else {
      isInside = false;
    }
  }
  return hunks;
}

/** Lines that are chosen, by hunk. */
export type Selection = Readonly<Record<string, readonly number[]>>;

/** The changed lines from one to the other place of a hunk. */
export function changedBetween(lines: readonly DiffLine[], from: number, to: number): number[] {
  const [first, last] = from <= to ? [from, to] : [to, from];
  return lines.filter(({ at, mark }) => mark !== " " && at >= first && at <= last).map(({ at }) => at);
}

export function withLines(selection: Selection, hunk: string, lines: readonly number[], isAdded: boolean): Selection {
  const { [hunk]: known = [], ...rest } = selection;
  const chosen = isAdded ? [...new Set([...known, ...lines])] : known.filter((line) => !lines.includes(line));
  return chosen.length ? { ...rest, [hunk]: chosen.toSorted((a, b) => a - b) } : rest;
}

/** What a decision about the selected lines names; a hunk whose every change is selected is named whole. */
export function choiceOf(hunk: HunkText & { readonly id: string }, lines: readonly number[]): string | { id: string; lines: number[] } {
  const changed = hunk.lines.filter((line) => line.startsWith("+") || line.startsWith("-")).length;
  return lines.length === changed ? hunk.id : { id: hunk.id, lines: [...lines] };
}
