// Characters that are not seen but change what is read: shown as marks, so that nobody is led astray.

// Direction controls, zero-width ones, blanks that look like nothing, tags, and control characters besides tab and line ends.
// oxlint-disable-next-line no-control-regex no-misleading-character-class
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|\u{e0001}|[\u{e0020}-\u{e007f}]/gu;

export interface Piece {
  readonly text: string;
  readonly isMark: boolean;
}

/** The text in pieces; what cannot be seen is a piece of its own with its number. */
export function piecesOf(text: string): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > from) pieces.push({ text: text.slice(from, match.index), isMark: false });
    pieces.push({ text: markOf(match[0]), isMark: true });
    from = match.index + match[0].length;
  }
  if (from < text.length || pieces.length === 0) pieces.push({ text: text.slice(from), isMark: false });
  return pieces;
}

function markOf(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** The same as one string, for titles and labels. */
export function marked(text: string): string {
  return piecesOf(text)
    .map(({ text, isMark }) => (isMark ? `[${text}]` : text))
    .join("");
}
