import { memo } from "react";

import { piecesOf } from "./marks.ts";

/** Text that a decision rests on: a path, a command, a question. What cannot be seen in it is shown as a mark. */
export const Plain = memo(function Plain({ text }: { text: string }) {
  const pieces = piecesOf(text);
  if (pieces.length === 1 && !pieces[0]?.isMark) return text;
  return (
    <bdi>
      {pieces.map((piece, at) =>
        piece.isMark ? (
          <span key={at} role="img" aria-label={`hidden character ${piece.text}`} title="A character that is not seen" className="mx-px rounded-sm bg-ask-soft px-0.5 font-mono text-[0.8em] text-ask">
            {piece.text}
          </span>
        ) : (
          piece.text
        ),
      )}
    </bdi>
  );
});
