// A unified diff to read. Loaded when the first one is shown.

import { useMemo } from "react";

import { Lines } from "./hunk.tsx";
import { languageOf } from "./language.ts";
import { parsedHunks, placeOf } from "./lines.ts";

export default function DiffText({ text, path = "" }: { text: string; path?: string }) {
  const hunks = useMemo(() => parsedHunks(text), [text]);
  if (hunks.length === 0) {
    return (
      <pre tabIndex={0} className="max-h-96 overflow-auto px-3 py-2 font-mono text-2xs">
        {text}
      </pre>
    );
  }
  return hunks.map((hunk, at) => (
    <div key={at} className="not-first:border-t not-first:border-line">
      <Lines hunk={hunk} label={`From line ${placeOf(hunk.header).fresh} of ${path || "the file"}`} language={languageOf(path)} isSplit={false} />
    </div>
  ));
}
