// Closing a session: what goes with it is said before.

import { useContext, useState } from "react";

import { api } from "./api.ts";
import { lossWords, refusalWords } from "./branch/words.ts";
import { ColumnContext, closeColumn } from "./columns.ts";
import { Button, Dialog, Spinner, Trouble } from "./controls.tsx";
import { useFetched } from "./fetched.ts";
import type { Standing } from "./fold.ts";
import type { Json, Session } from "./protocol.ts";
import { closeSession } from "./sessions.ts";
import { usePane } from "./store.ts";
import { countOf } from "./words.ts";

const SHOWN = 100;

export function CloseSession({ session, view, onClose }: { session: Session; view: Standing | undefined; onClose: () => void }) {
  const deed = usePane((state) => state.deeds[`session:${session.id}`]);
  const [keepsBranch, setKeepsBranch] = useState(false);
  // The branch may be gone with its repository; then the session is closed all the same.
  const { value: status } = useFetched(`${session.id} ${view?.facts.movedAt}`, () => api.branch(session.id).catch(() => null));
  const pending = view ? Object.values(view.facts.changes).filter((change) => change.status === "pending") : [];
  const lost = lossWords(pending.map(({ file_path }) => file_path).toSorted(), status, keepsBranch);
  const isUnsaved = deed?.state === "refused" && deed.code === "unsaved_work";
  const files = isUnsaved ? textsOf(deed.fields?.files) : [];
  const stopped = stoppedWords(view);
  const hasOthers = (useContext(ColumnContext)?.count ?? 1) > 1;
  const close = async () => {
    if ((await closeSession(session.id, isUnsaved, keepsBranch)) && hasOthers) closeColumn(session.id);
  };
  return (
    <Dialog title="Close this session?" onClose={onClose}>
      <p className="text-soft">
        Its agents are stopped{stopped}, and its worktree {keepsBranch ? "is" : "and branch are"} removed. What was applied stays in your checkout.
      </p>
      {lost.length > 0 && (
        <div role="group" aria-label="What would be lost" className="rounded-md bg-ask-soft px-3 py-2 text-xs text-ask">
          <p className="font-medium">This would be lost:</p>
          <ul className="list-disc pl-4">
            {lost.map((words) => (
              <li key={words} className="[overflow-wrap:anywhere]">
                {words}
              </li>
            ))}
          </ul>
        </div>
      )}
      {session.branch && (
        <label className="flex items-start gap-2 text-xs">
          <input type="checkbox" checked={keepsBranch} onChange={(event) => setKeepsBranch(event.target.checked)} className="mt-0.5 accent-(--live)" />
          <span>
            Keep the branch <span className="font-mono">{session.branch}</span> in your repository
            <span className="block text-2xs text-soft">With what is committed on it. Commit the rest first, to keep that as well.</span>
          </span>
        </label>
      )}
      {deed?.state === "refused" && <Trouble words={isUnsaved ? `${deed.words.replace(/\.$/, "")}. Apply, commit or export it first, or lose it.` : refusalWords(deed)} />}
      {files.length > 0 && (
        <ul aria-label="Files that would be lost" tabIndex={0} className="max-h-40 overflow-auto rounded-md border border-line bg-raised px-2.5 py-1.5 font-mono text-2xs">
          {files.slice(0, SHOWN).map((file) => (
            <li key={file}>{file}</li>
          ))}
        </ul>
      )}
      <div className="flex justify-end gap-2">
        <Button look="quiet" data-first onClick={onClose}>
          Keep it
        </Button>
        <Button look="danger" disabled={deed?.state === "busy"} onClick={() => void close()}>
          {deed?.state === "busy" && <Spinner />} {isUnsaved ? "Close and lose that work" : "Close session"}
        </Button>
      </div>
    </Dialog>
  );
}

function textsOf(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

function stoppedWords(view: Standing | undefined): string {
  const tasks = Object.values(view?.facts.tasks ?? {});
  const waiting = tasks.filter(({ state }) => state === "pending" || state === "blocked").length;
  const parts = [tasks.some(({ state }) => state === "running") && "in the middle of a turn", waiting > 0 && `with ${countOf(waiting, "prompt")} waiting`];
  const words = parts.filter(Boolean).join(" and ");
  return words && ` ${words}`;
}
