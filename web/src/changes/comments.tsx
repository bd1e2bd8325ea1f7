// All threads of a session, and sending the open ones to an agent.

import { Send } from "lucide-react";
import { useState } from "react";

import { api } from "../api.ts";
import { Button, FIELD, Spinner, Trouble } from "../controls.tsx";
import { useFetched } from "../fetched.ts";
import { byId, type Standing } from "../fold.ts";
import { useKept } from "../kept.ts";
import type { Comment } from "../protocol.ts";
import { dismiss, usePane } from "../store.ts";
import { countOf, obstacleOf } from "../words.ts";
import { reviewDeed, sendReview, useDeed } from "./deeds.ts";
import { Thread } from "./threads.tsx";

export function openThreads(view: Standing): Comment[] {
  return Object.values(view.facts.comments).filter((thread) => thread.status === "open");
}

export function Comments({ id, view }: { id: string; view: Standing }) {
  // A snapshot holds the open ones; those settled before are asked for.
  const older = useFetched(`${id} ${view.facts.movedAt}`, async () => (await api.comments(id)).filter(({ status }) => status !== "open"));
  const threads = Object.values({ ...byId(older.value ?? []), ...view.facts.comments }).sort(byPlace);
  const open = threads.filter((thread) => thread.status === "open");
  const settled = threads.filter((thread) => thread.status !== "open").sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  return (
    <div className="flex flex-col pb-4">
      {open.length > 0 && <ReviewForm id={id} view={view} open={open} />}
      {older.trouble && <div className="p-2.5"><Trouble words={older.trouble} /></div>}
      {threads.length === 0 && (
        <p className="px-6 py-10 text-center text-sm text-faint">
          No comments yet. Open a file, point at a line and press <kbd className="font-mono">c</kbd>. What you write there goes to an agent as
          one review.
        </p>
      )}
      {open.map((thread) => (
        <Thread key={thread.id} thread={thread} place={<Place thread={thread} />} />
      ))}
      {settled.length > 0 && <h3 className="px-3.5 pt-4 text-xs font-medium text-soft">Settled</h3>}
      {settled.map((thread) => (
        <Thread key={thread.id} thread={thread} place={<Place thread={thread} />} />
      ))}
    </div>
  );
}

function byPlace(a: Comment, b: Comment): number {
  return a.file_path === b.file_path ? a.line - b.line : a.file_path < b.file_path ? -1 : 1;
}

export function Place({ thread }: { thread: Comment }) {
  return (
    <div className="min-w-0 font-mono text-2xs">
      <p className="truncate text-faint" title={thread.file_path}>
        {thread.file_path}:{thread.line}
        {thread.side === "base" && " as it was"}
      </p>
      <pre className="truncate rounded-sm bg-sunken px-1.5 py-0.5">{thread.text.trim() || " "}</pre>
    </div>
  );
}

function ReviewForm({ id, view, open }: { id: string; view: Standing; open: readonly Comment[] }) {
  const providers = usePane((state) => state.providers);
  const name = reviewDeed(id);
  const deed = useDeed(name);
  const isBusy = deed?.state === "busy";
  const [words, setWords] = useKept(`coder.words.review.${id}`, "");
  const [chosen, setChosen] = useState<string | null>(null);
  const usable = (providers ?? []).filter((provider) => obstacleOf(provider) === null);
  const last = Object.values(view.facts.tasks).toSorted((a, b) => (a.created_at < b.created_at ? 1 : -1))[0]?.agent;
  const unsent = open.filter(({ sent_at, sent_replies, replies }) => sent_at === null || replies.length > sent_replies).length;
  const agent = usable.find((provider) => provider.id === (chosen ?? last)) ?? usable[0];
  return (
    <form
      aria-label="Send review"
      className="flex flex-col gap-2 border-b border-line px-3.5 py-2.5"
      onSubmit={async (event) => {
        event.preventDefault();
        if (agent && (await sendReview(id, agent.id, words))) setWords("");
      }}
    >
      <textarea
        aria-label="More to say"
        placeholder={`${countOf(open.length, "open comment")}, ${unsent} not sent yet. More to say?`}
        rows={1}
        value={words}
        onChange={(event) => setWords(event.target.value)}
        className={`${FIELD} min-h-7 resize-y py-1 text-xs [field-sizing:content] max-h-48`}
      />
      <div className="flex flex-wrap items-center gap-2">
        <Button type="submit" look="solid" disabled={isBusy || !agent}>
          {isBusy ? <Spinner /> : <Send aria-hidden className="size-3.5" />} Send review to
        </Button>
        <select
          aria-label="Agent of the review"
          value={agent?.id ?? ""}
          onChange={(event) => setChosen(event.target.value)}
          className="h-7 min-w-0 rounded-md border border-line-strong bg-raised px-1.5 text-xs"
        >
          {usable.map((provider) => (
            <option key={provider.id} value={provider.id}>
              {provider.label}
            </option>
          ))}
        </select>
      </div>
      {deed?.state === "refused" && (
        <Trouble
          words={deed.code === "no_open_comments" ? "This agent has been told everything already." : deed.words}
          onDismiss={() => dismiss(name)}
        />
      )}
    </form>
  );
}
