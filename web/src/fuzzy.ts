// Finding a thing by some of its letters in their order.

export interface Match {
  readonly score: number;
  /** Where the letters are. */
  readonly at: readonly number[];
}

/** How well the letters of `query` fit, or null where one is missing. Starts of words and runs count more. */
export function matchOf(query: string, text: string): Match | null {
  const wanted = [...query.toLowerCase()].filter((letter) => letter !== " ");
  if (wanted.length === 0) return { score: 0, at: [] };
  const low = text.toLowerCase();
  const whole = low.indexOf(query.toLowerCase().trim());
  if (whole >= 0) {
    const at = Array.from({ length: query.trim().length }, (_, step) => whole + step);
    return { score: 100 + (isStart(text, whole) ? 50 : 0) - Math.min(40, whole) - text.length / 50, at };
  }
  const at: number[] = [];
  let score = 0;
  let from = 0;
  for (const letter of wanted) {
    const start = startWith(text, low, letter, from);
    const next = start ?? low.indexOf(letter, from);
    if (next < 0) return null;
    score += start !== null ? 8 : at.at(-1) === next - 1 ? 5 : -1;
    at.push(next);
    from = next + 1;
  }
  return { score: score - text.length / 50, at };
}

function isStart(text: string, at: number): boolean {
  return at === 0 || /[\s/._\-:]/.test(text[at - 1] ?? "") || /[a-z][A-Z]/.test(text.slice(at - 1, at + 1));
}

/** The next place where a word starts with the letter, if it is the next letter anyway or near. */
function startWith(text: string, low: string, letter: string, from: number): number | null {
  const next = low.indexOf(letter, from);
  if (next === from && from > 0) return null;
  for (let at = next; at >= 0 && at < from + 24; at = low.indexOf(letter, at + 1)) if (isStart(text, at)) return at;
  return null;
}

/** The best first; equal ones stay in their order. */
export function ranked<Thing>(query: string, things: readonly Thing[], textOf: (thing: Thing) => string): { thing: Thing; match: Match }[] {
  return things
    .flatMap((thing) => {
      const match = matchOf(query, textOf(thing));
      return match ? [{ thing, match }] : [];
    })
    .toSorted((a, b) => b.match.score - a.match.score);
}
