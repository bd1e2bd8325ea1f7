// A commit on the session's branch. Loaded when it is asked for.

import { useState } from "react";

import { Button, Dialog, FIELD, Field, Spinner } from "../controls.tsx";
import { Choices } from "../choices.tsx";
import { isTurnRunning } from "../changes/checkpoints.tsx";
import { useDeed } from "../changes/deeds.ts";
import type { Standing } from "../fold.ts";
import { useKept } from "../kept.ts";
import type { BranchStatus, NewCommit } from "../protocol.ts";
import { countOf } from "../words.ts";
import { commit, commitDeed } from "./deeds.ts";
import type { Done } from "./line.tsx";
import { Refused } from "./refused.tsx";
import { commitWords } from "./words.ts";

interface CommitProps {
  id: string;
  view: Standing;
  status: BranchStatus;
  pending: number;
  onDone: (done: Done) => void;
  onClose: () => void;
}

type What = NonNullable<NewCommit["changes"]>;

export default function CommitDialog({ id, view, status, pending, onDone, onClose }: CommitProps) {
  const [message, setMessage] = useKept(`coder.words.commit.${id}`, "");
  const [chosen, setChosen] = useState<What | null>(null);
  const what = chosen ?? (status.applied ? "applied" : "all");
  const name = commitDeed(id);
  const deed = useDeed(name);
  const isBusy = deed?.state === "busy";
  const send = async () => {
    if (!message.trim() || isBusy) return;
    const made = await commit(id, { message: message.trim(), changes: what });
    if (!made) return;
    setMessage("");
    onDone({ words: commitWords(made), head: made.commit });
  };
  return (
    <Dialog title={`Commit on ${status.branch}`} onClose={onClose}>
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <Field label="Message" hint="You are the author; agents whose work is in it are named as co-authors.">
          <textarea
            data-first
            required
            rows={3}
            maxLength={65536}
            value={message}
            onChange={(event) => setMessage(event.target.value)}
            onKeyDown={(event) => {
              if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.nativeEvent.isComposing) return;
              event.preventDefault();
              void send();
            }}
            className={`${FIELD} resize-y text-sm [field-sizing:content] max-h-64`}
          />
        </Field>
        <Choices
          label="What"
          value={what}
          onChange={setChosen}
          choices={[
            { value: "applied", label: "What was applied", hint: `${countOf(status.applied ?? 0, "file")} in your checkout and in no commit yet` },
            {
              value: "all",
              label: "Everything in the worktree",
              hint: `${countOf(status.uncommitted ?? 0, "file")}${pending ? `; applies ${countOf(pending, "pending change")} to the branch` : ""}`,
            },
          ]}
        />
        {what === "all" && isTurnRunning(view) && <p className="text-xs text-ask">A turn is running: everything can be committed when it has ended.</p>}
        <Refused name={name} deed={deed} />
        <div className="flex items-center justify-end gap-2">
          <Button type="submit" look="solid" disabled={!message.trim() || isBusy} title="Ctrl+Enter">
            {isBusy && <Spinner />} Commit
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
