// The session's branch above its changes: where it stands, and what leads out by git.

import { Download, GitBranch, GitCommitHorizontal, GitPullRequestArrow } from "lucide-react";
import { Suspense, lazy, useEffect, useState } from "react";

import { useAction } from "../actions.ts";
import { api } from "../api.ts";
import { newestEnd } from "../calls.ts";
import { Button, IconButton, Trouble } from "../controls.tsx";
import { useFetched } from "../fetched.ts";
import type { Standing } from "../fold.ts";
import type { BranchStatus } from "../protocol.ts";
import { usePane } from "../store.ts";
import { commitDeed, updateDeed } from "./deeds.ts";
import { refusalWords, standWords } from "./words.ts";

const CommitDialog = lazy(() => import("./commit.tsx"));
const UpdateDialog = lazy(() => import("./update.tsx"));
const PatchDialog = lazy(() => import("./patch.tsx"));

/** What was done, as long as the branch is where that left it. */
export interface Done {
  readonly words: string;
  readonly head: string;
}

/** Where the branch stands; asked again when records, a deed or a return to the window may have moved it. */
function useBranch(id: string, view: Standing) {
  const looks = useLooks();
  const deeds = usePane((state) => `${state.deeds[commitDeed(id)]?.state} ${state.deeds[updateDeed(id)]?.state} ${state.link.state}`);
  return useFetched(`${id} ${view.facts.movedAt} ${newestEnd(view.facts)} ${looks} ${deeds}`, () => api.branch(id));
}

/** How often somebody has come back to this window: meanwhile the branch may have been moved in a terminal. */
function useLooks(): number {
  const [looks, setLooks] = useState(0);
  useEffect(() => {
    const look = () => setLooks((known) => known + 1);
    window.addEventListener("focus", look);
    return () => window.removeEventListener("focus", look);
  }, []);
  return looks;
}

export function BranchLine({ id, view, pending }: { id: string; view: Standing; pending: number }) {
  const { value: status, trouble, retry } = useBranch(id, view);
  const isConnected = usePane((state) => state.link.state === "online");
  const [open, setOpen] = useState<"commit" | "update" | "patch" | null>(null);
  const [done, setDone] = useState<Done | null>(null);
  useAction("branch.commit", status && (() => setOpen("commit")));
  useAction("branch.update", status && (() => setOpen("update")));
  useAction("branch.patch", () => setOpen("patch"));
  const close = () => setOpen(null);
  const finish = (what: Done) => {
    setDone(what);
    close();
  };
  return (
    <section aria-label="Branch" className="flex shrink-0 flex-col gap-1.5 border-b border-line px-2.5 py-1.5 text-xs">
      <div className="flex min-h-7 items-center gap-1.5">
        <GitBranch aria-hidden className="ml-1 size-3.5 shrink-0 text-faint" />
        {status && <Stand status={status} />}
        {!status && !trouble && <span className="text-faint">Looking at the branch…</span>}
        <span className="ml-auto flex shrink-0 items-center gap-1">
          <Button look="quiet" size="small" disabled={!status} title="Commit on the session's branch" onClick={() => setOpen("commit")}>
            <GitCommitHorizontal aria-hidden className="size-3.5" /> Commit
          </Button>
          <Button
            look={status?.behind ? "plain" : "quiet"}
            size="small"
            disabled={!status}
            title={`Bring ${status?.default_branch ?? "the default branch"} in`}
            onClick={() => setOpen("update")}
          >
            <GitPullRequestArrow aria-hidden className="size-3.5" /> Update
          </Button>
          <IconButton label="Export as a patch" className="size-6" onClick={() => setOpen("patch")}>
            <Download aria-hidden className="size-3.5" />
          </IconButton>
        </span>
      </div>
      {trouble && isConnected && (
        <Trouble words={trouble}>
          <Button look="danger" size="small" onClick={retry}>
            Try again
          </Button>
        </Trouble>
      )}
      {status?.problem && <Trouble words={refusalWords({ code: status.problem.code, words: status.problem.message })} />}
      <p role="status" className={done && done.head === status?.head ? "px-1 text-soft" : "sr-only"}>
        {done && done.head === status?.head && done.words}
      </p>
      <Suspense>
        {status && open === "commit" && <CommitDialog id={id} view={view} status={status} pending={pending} onDone={finish} onClose={close} />}
        {status && open === "update" && <UpdateDialog id={id} view={view} status={status} onDone={finish} onClose={close} />}
        {open === "patch" && <PatchDialog id={id} branch={view.facts.session.branch ?? id} onClose={close} />}
      </Suspense>
    </section>
  );
}

function Stand({ status }: { status: BranchStatus }) {
  const stand = standWords(status);
  const isApart = (status.ahead ?? 0) + (status.behind ?? 0) > 0;
  return (
    <span className="flex min-w-0 items-baseline gap-2" title={`${status.branch} ${stand}`}>
      <span className="min-w-[4ch] truncate font-mono text-2xs text-soft">{status.branch}</span>
      {isApart && (
        <span aria-hidden className="shrink-0 text-2xs text-faint tabular-nums">
          {status.ahead ? `↑${status.ahead}` : ""} {status.behind ? `↓${status.behind}` : ""}
        </span>
      )}
      <span className="sr-only">{stand}</span>
    </span>
  );
}
