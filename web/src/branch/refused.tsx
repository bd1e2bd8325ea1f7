// Why something about the branch was refused, and what to do; a conflict with its sides.

import { Suspense, lazy, type ReactNode } from "react";

import { clashesOf } from "../changes/words.ts";
import { Trouble } from "../controls.tsx";
import { dismiss, type Deed } from "../store.ts";
import { Wait } from "../tool.tsx";
import { refusalWords } from "./words.ts";

const Conflict = lazy(() => import("../changes/conflict.tsx"));

interface RefusedProps {
  name: string;
  deed: Deed | undefined;
  /** What to do about a conflict, and whose side is which. */
  advice?: string;
  sides?: { present: string; change: string };
  again?: ReactNode;
}

export function Refused({ name, deed, advice, sides, again }: RefusedProps) {
  if (deed?.state !== "refused") return null;
  const clashes = clashesOf(deed);
  if (clashes.length === 0) return <Trouble words={refusalWords(deed)} onDismiss={() => dismiss(name)} />;
  return (
    <Suspense fallback={<Wait />}>
      <Conflict clashes={clashes} words={deed.words} advice={advice} sides={sides} again={again} onDismiss={() => dismiss(name)} />
    </Suspense>
  );
}
