// The small marks of a changed file.

import { KeyRound, UserRound } from "lucide-react";

import { Badge } from "../controls.tsx";
import type { Change, FileDifference } from "../protocol.ts";
import { OPERATION, splitPath } from "../words.ts";
import { USER, authorsOf } from "./words.ts";

const LETTERS: Record<FileDifference["operation"], string> = {
  create: "text-good bg-good-soft",
  edit: "text-live bg-live-soft",
  delete: "text-bad bg-bad-soft",
  rename: "text-ask bg-ask-soft",
};

export function Letter({ operation }: { operation: FileDifference["operation"] }) {
  return (
    <span aria-hidden className={`grid size-4 shrink-0 place-items-center rounded-sm font-mono text-2xs font-semibold ${LETTERS[operation]}`}>
      {OPERATION[operation].letter}
    </span>
  );
}

export function Path({ path, withoutFolder = false }: { path: string; withoutFolder?: boolean }) {
  const { folder, name } = splitPath(path);
  return (
    <span className="flex min-w-0 items-baseline font-mono text-xs">
      {!withoutFolder && <span className="min-w-0 truncate text-faint">{folder}</span>}
      <span className="max-w-full min-w-[4ch] shrink-[0.001] truncate">{name}</span>
    </span>
  );
}

export function Counts({ added, deleted }: { added: number; deleted: number }) {
  if (added === 0 && deleted === 0) return null;
  return (
    <span className="shrink-0 font-mono text-2xs tabular-nums">
      {added > 0 && <span className="text-good">+{added}</span>} {deleted > 0 && <span className="text-bad">−{deleted}</span>}
    </span>
  );
}

export function Extent({ change }: { change: FileDifference }) {
  if (change.is_binary) return <span className="text-2xs text-faint">binary</span>;
  return <Counts added={change.added_lines} deleted={change.deleted_lines} />;
}

/** Everybody whose work is in a change. */
export function Authors({ change }: { change: Pick<Change, "agent" | "contributors"> }) {
  return authorsOf(change).map((name) =>
    name === USER ? (
      <Badge key={name} className="bg-ask-soft text-ask">
        <span title="Edited by hand in the worktree" className="flex items-center gap-1">
          <UserRound aria-hidden className="size-3" /> {USER}
        </span>
      </Badge>
    ) : (
      <Badge key={name} className="min-w-0 bg-sunken text-soft">
        <span title={`Changed by ${name}`} className="max-w-28 truncate">
          {name}
        </span>
      </Badge>
    ),
  );
}

export function Secret() {
  return (
    <Badge className="bg-bad-soft text-bad">
      <span title="A file that may hold secrets: it is never applied by itself" className="flex items-center gap-1">
        <KeyRound aria-hidden className="size-3" /> secret
      </span>
    </Badge>
  );
}
