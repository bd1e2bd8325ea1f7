// The default branch brought into the session. Loaded when it is asked for.

import { useState } from "react";

import { isTurnRunning } from "../changes/checkpoints.tsx";
import { useDeed } from "../changes/deeds.ts";
import { clashesOf } from "../changes/words.ts";
import { Choices } from "../choices.tsx";
import { Button, Dialog, FIELD, Field, Spinner } from "../controls.tsx";
import type { Standing } from "../fold.ts";
import type { BranchIncoming, BranchStatus } from "../protocol.ts";
import { usePane } from "../store.ts";
import { countOf, obstacleOf } from "../words.ts";
import { update, updateDeed } from "./deeds.ts";
import type { Done } from "./line.tsx";
import { Refused } from "./refused.tsx";
import { updateWords } from "./words.ts";

interface UpdateProps {
  id: string;
  view: Standing;
  status: BranchStatus;
  onDone: (done: Done) => void;
  onClose: () => void;
}

export default function UpdateDialog({ id, view, status, onDone, onClose }: UpdateProps) {
  const from = status.default_branch ?? "the default branch";
  const [how, setHow] = useState<NonNullable<BranchIncoming["how"]>>("merge");
  const [onConflict, setOnConflict] = useState<NonNullable<BranchIncoming["on_conflict"]>>("abort");
  const { usable, agent, choose } = useAgents(view);
  const name = updateDeed(id);
  const deed = useDeed(name);
  const isBusy = deed?.state === "busy";
  const isClash = deed?.state === "refused" && clashesOf(deed).length > 0;
  const send = async (otherwise: typeof onConflict) => {
    if (isBusy) return;
    const done = await update(id, { how, on_conflict: otherwise, agent: otherwise === "agent" ? (agent?.id ?? null) : null });
    if (done) onDone({ words: updateWords(done, from), head: done.head });
  };
  return (
    <Dialog title={`Update from ${from}`} isWide={isClash} onClose={onClose}>
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          void send(onConflict);
        }}
      >
        <p className="text-xs text-soft">
          {status.behind ? `${from} has ${countOf(status.behind, "commit")} that the session lacks. ` : `The session has every commit of ${from}. `}
          Your own {from} is meant, as it is in your repository: nothing is fetched. What is pending is carried over.
        </p>
        <Refused
          name={name}
          deed={deed}
          advice={`Leave it to an agent, or change ${from} or the session and try again.`}
          sides={{ present: "This session", change: `What comes in from ${from}` }}
          again={
            <Button disabled={isBusy || !agent} onClick={() => void send("agent")}>
              {isBusy && <Spinner />} Have {agent?.label ?? "an agent"} resolve it
            </Button>
          }
        />
        <Choices
          label="How"
          value={how}
          onChange={setHow}
          choices={[
            { value: "merge", label: "Merge", hint: `A commit joins ${from} with the session's branch` },
            { value: "rebase", label: "Rebase", hint: `The branch's commits are written anew on top of ${from}` },
          ]}
        />
        <Choices
          label="Where both sides changed the same lines"
          value={onConflict}
          onChange={setOnConflict}
          choices={[
            { value: "abort", label: "Write nothing and show me" },
            { value: "agent", label: "Leave it to an agent", hint: "Markers are written into the worktree, and the agent is asked to resolve them" },
          ]}
        />
        {(onConflict === "agent" || isClash) && (
          <Field label="Agent" {...(usable.length ? {} : { hint: "No agent is usable now: see Agents." })}>
            <select className={`${FIELD} h-9`} value={agent?.id ?? ""} onChange={(event) => choose(event.target.value)}>
              {usable.map(({ id: one, label }) => (
                <option key={one} value={one}>
                  {label}
                </option>
              ))}
            </select>
          </Field>
        )}
        {isTurnRunning(view) && <p className="text-xs text-ask">A turn is running: the branch can be updated when it has ended.</p>}
        <div className="flex items-center justify-end gap-2">
          <Button type="submit" look="solid" disabled={isBusy || (onConflict === "agent" && !agent)}>
            {isBusy && <Spinner />} {how === "merge" ? "Merge" : "Rebase"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Agents that can be given something to do; the one that worked last comes first. */
function useAgents(view: Standing) {
  const providers = usePane((state) => state.providers);
  const [chosen, choose] = useState<string | null>(null);
  const usable = (providers ?? []).filter((provider) => obstacleOf(provider) === null);
  const last = Object.values(view.facts.tasks).toSorted((a, b) => (a.created_at < b.created_at ? 1 : -1))[0]?.agent;
  return { usable, agent: usable.find(({ id }) => id === (chosen ?? last)) ?? usable[0], choose };
}
