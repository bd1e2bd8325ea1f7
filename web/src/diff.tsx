// A unified diff on the screen. Loaded when the first one is shown.

import { useMemo } from "react";
import { Decoration, Diff, Hunk, parseDiff } from "react-diff-view";
import "react-diff-view/style/index.css";

const LONGEST = 400_000;

export default function DiffText({ text }: { text: string }) {
  const files = useMemo(() => (text.length > LONGEST ? null : parsed(text)), [text]);
  if (!files?.some((file) => file.hunks.length)) {
    return (
      <pre tabIndex={0} className="max-h-96 overflow-auto px-3 py-2 font-mono text-2xs">
        {text}
      </pre>
    );
  }
  return files.map((file, at) => (
    <Diff key={at} viewType="unified" diffType={file.type} hunks={file.hunks}>
      {(hunks) =>
        hunks.flatMap((hunk) => [
          <Decoration key={`${hunk.content} head`}>{hunk.content}</Decoration>,
          <Hunk key={hunk.content} hunk={hunk} />,
        ])
      }
    </Diff>
  ));
}

function parsed(text: string) {
  try {
    return parseDiff(text, { nearbySequences: "zip" });
  } catch {
    return null;
  }
}
