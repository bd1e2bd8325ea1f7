// Text that is still being written, cut where nothing that follows can change what stands before: only its last block is read anew.

/** The top-level blocks of a markdown text; together they are the text. */
export function blocksOf(text: string): string[] {
  // What is defined further down may be used above: such a text is one block.
  if (/^ {0,3}\[[^\]]+\]:/m.test(text)) return [text];
  const blocks: string[] = [];
  const lines = text.split("\n");
  let fence: string | null = null;
  let block: string[] = [];
  let isLoose = false;
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? "";
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    const isBlank = fence === null && line.trim() === "";
    if (fence === null && !isBlank && isLoose && block.length > 0 && !continues(block, line)) {
      blocks.push(block.join("\n"));
      block = [];
    }
    block.push(line);
    isLoose = isBlank;
    if (fence === null && mark) fence = mark;
    else if (fence !== null && mark?.startsWith(fence) && line.trim() === mark) fence = null;
  }
  if (block.some((line) => line.trim() !== "")) blocks.push(block.join("\n"));
  return blocks;
}

/** After a blank line a list, and what is indented in it, goes on. */
function continues(block: readonly string[], line: string): boolean {
  if (/^(\s{2,}|\t)/.test(line)) return true;
  const isItem = /^ {0,3}([-*+]|\d{1,9}[.)])\s/;
  return isItem.test(line) && isItem.test(block.find((one) => one.trim() !== "") ?? "");
}

/** Whether a block is one line of words that markdown leaves as they are; most of what agents say, and quick to show. */
export function isProse(block: string): boolean {
  return /^ ?[\p{L}("'“‘][^\p{Cc}\\`*_[\]<>~|&@]*\s*$/u.test(block) && !/https?:|www\./i.test(block);
}

/** The last block of a text that grows, without the half of a mark that would be shown as it is until its other half comes. */
export function mended(block: string): string {
  if (/^ {0,3}(`{3,}|~{3,})/m.test(block)) return block;
  const start = Math.max(block.lastIndexOf("\n\n") + 2, 0);
  let tail = block.slice(start);
  tail = tail.replace(/!?\[[^\]\n]*(\]\([^)\s]*)?$/, (half) => /^!?\[([^\]]*)/.exec(half)?.[1] ?? "");
  tail = tail.replace(/(^|[\s(])(\*{1,3}|_{1,3}|~~|`)$/, "$1");
  if (count(tail, "`") % 2 === 1) return block.slice(0, start) + tail + "`";
  for (const mark of ["**", "__", "~~"]) if (count(tail, mark) % 2 === 1) tail = tail.trimEnd() + mark;
  return block.slice(0, start) + tail;
}

function count(text: string, mark: string): number {
  return text.split(mark).length - 1;
}
