// Terminal output as runs of coloured text. Colours only: links, clipboards, titles and moves of the cursor are dropped.

export interface Run {
  readonly text: string;
  /** Class names; empty for plain text. */
  readonly look: string;
  /** A colour that has no name. */
  readonly colour: string | null;
}

interface Look {
  fore: string | null;
  back: string | null;
  colour: string | null;
  marks: ReadonlySet<string>;
}

const PLAIN: Look = { fore: null, back: null, colour: null, marks: new Set() };
const MARKS: Record<number, string> = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF: Record<number, readonly string[]> = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

// CSI; OSC, DCS, SOS, PM and APC up to their end or the end of the text; two-byte escapes; other control characters.
const ESCAPE =
  // oxlint-disable-next-line no-control-regex
  /(?:\u001b\[|\u009b)([0-?]*)[ -/]*([@-~])|(?:\u001b[\]P^_X]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c|$)|\u001b[ -/]*[0-~]|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

export function runsOf(output: string): Run[] {
  const runs: Run[] = [];
  let look = PLAIN;
  let from = 0;
  const push = (text: string) => {
    if (text) runs.push({ text, look: classesOf(look), colour: look.colour });
  };
  const text = overwritten(output);
  for (const match of text.matchAll(ESCAPE)) {
    push(text.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] === "m") look = painted(look, match[1] ?? "");
  }
  push(text.slice(from));
  return runs;
}

/** A carriage return goes back to the start of the line: what it wrote over is gone. */
function overwritten(output: string): string {
  return output
    .split("\n")
    .map((line) => line.replace(/\r+$/, "").split("\r").at(-1))
    .join("\n");
}

function painted(look: Look, codes: string): Look {
  const numbers = codes.split(/[;:]/).map((code) => (code === "" ? 0 : Number(code)));
  let next: Look = { ...look };
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at] ?? 0;
    if (code === 0) next = PLAIN;
    else if (MARKS[code]) next = { ...next, marks: new Set([...next.marks, MARKS[code]]) };
    else if (OFF[code]) next = { ...next, marks: new Set([...next.marks].filter((mark) => !OFF[code]?.includes(mark))) };
    else if (code >= 30 && code <= 37) next = { ...next, fore: String(code - 30), colour: null };
    else if (code >= 90 && code <= 97) next = { ...next, fore: String(code - 82), colour: null };
    else if (code === 39) next = { ...next, fore: null, colour: null };
    else if (code >= 40 && code <= 47) next = { ...next, back: String(code - 40) };
    else if (code >= 100 && code <= 107) next = { ...next, back: String(code - 92) };
    else if (code === 49) next = { ...next, back: null };
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(numbers.slice(at + 1));
      if (code === 38 && colour !== null) next = /^\d+$/.test(colour) ? { ...next, fore: colour, colour: null } : { ...next, fore: null, colour };
      at += used;
    }
  }
  return next;
}

/** One of 256 colours or a free one. Free ones are toned by the theme, not taken as they are. */
function extended(numbers: readonly number[]): [string | null, number] {
  const [kind, a = 0, b = 0, c = 0] = numbers;
  if (kind === 2) return [`rgb(${byte(a)} ${byte(b)} ${byte(c)})`, 4];
  if (kind !== 5) return [null, numbers.length];
  if (a < 16) return [String(a), 2];
  if (a >= 232) return [`rgb(${grey(a)} ${grey(a)} ${grey(a)})`, 2];
  const step = (n: number) => (n ? 55 + 40 * n : 0);
  const at = a - 16;
  return [`rgb(${step(Math.floor(at / 36))} ${step(Math.floor(at / 6) % 6)} ${step(at % 6)})`, 2];
}

const byte = (value: number) => Math.max(0, Math.min(255, Math.trunc(value) || 0));
const grey = (value: number) => 8 + (byte(value) - 232) * 10;

function classesOf({ fore, back, marks }: Look): string {
  return [fore !== null && `ansi-${fore}`, back !== null && `ansi-on-${back}`, ...[...marks].map((mark) => `ansi-${mark}`)]
    .filter(Boolean)
    .join(" ");
}
