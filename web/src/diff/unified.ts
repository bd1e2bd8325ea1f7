// A unified diff of two texts, for what an agent says it changes. Decisions never rest on it.

const LIMIT = 4_000_000;
const CONTEXT = 3;

type Step = { mark: " " | "+" | "-"; line: string };

/** Git's format with one file; empty when the texts are equal. */
export function unifiedDiff(path: string, before: string | null, after: string): string {
  const steps = stepsOf(linesOf(before ?? ""), linesOf(after));
  if (steps.every((step) => step.mark === " ")) return "";
  const head = [
    `diff --git a/${path} b/${path}`,
    ...(before === null ? ["new file mode 100644"] : []),
    `--- ${before === null ? "/dev/null" : `a/${path}`}`,
    `+++ b/${path}`,
  ];
  return [...head, ...hunksOf(steps), ""].join("\n");
}

function linesOf(text: string): string[] {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** What leads from one list to the other. */
export function stepsOf(before: string[], after: string[]): Step[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (
    end < before.length - start &&
    end < after.length - start &&
    before[before.length - 1 - end] === after[after.length - 1 - end]
  ) {
    end += 1;
  }
  const same = (line: string): Step => ({ mark: " ", line });
  return [
    ...before.slice(0, start).map(same),
    ...middleOf(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...before.slice(before.length - end).map(same),
  ];
}

/** The longest common subsequence, or one block against the other when that would take too long. */
function middleOf(before: string[], after: string[]): Step[] {
  if (before.length * after.length > LIMIT) {
    return [
      ...before.map((line): Step => ({ mark: "-", line })),
      ...after.map((line): Step => ({ mark: "+", line })),
    ];
  }
  const width = after.length + 1;
  const table = new Uint32Array((before.length + 1) * width);
  const at = (row: number, column: number) => table[row * width + column] ?? 0;
  for (let row = before.length - 1; row >= 0; row -= 1) {
    for (let column = after.length - 1; column >= 0; column -= 1) {
      table[row * width + column] =
        before[row] === after[column]
          ? at(row + 1, column + 1) + 1
          : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  const steps: Step[] = [];
  let row = 0;
  let column = 0;
  while (row < before.length || column < after.length) {
    if (row < before.length && column < after.length && before[row] === after[column]) {
      steps.push({ mark: " ", line: before[row] ?? "" });
      row += 1;
      column += 1;
    } else if (row < before.length && (column >= after.length || at(row + 1, column) >= at(row, column + 1))) {
      steps.push({ mark: "-", line: before[row] ?? "" });
      row += 1;
    } else {
      steps.push({ mark: "+", line: after[column] ?? "" });
      column += 1;
    }
  }
  return steps;
}

function hunksOf(steps: Step[]): string[] {
  const isNear = steps.map((_, at) =>
    steps.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some((step) => step.mark !== " "),
  );
  const lines: string[] = [];
  let oldLine = 1;
  let newLine = 1;
  for (let at = 0; at < steps.length; ) {
    if (!isNear[at]) {
      oldLine += 1;
      newLine += 1;
      at += 1;
      continue;
    }
    const first = at;
    while (at < steps.length && isNear[at]) at += 1;
    const hunk = steps.slice(first, at);
    const olds = hunk.filter((step) => step.mark !== "+").length;
    const news = hunk.filter((step) => step.mark !== "-").length;
    lines.push(`@@ -${olds ? oldLine : 0},${olds} +${news ? newLine : 0},${news} @@`);
    lines.push(...hunk.map((step) => step.mark + step.line));
    oldLine += olds;
    newLine += news;
  }
  return lines;
}
