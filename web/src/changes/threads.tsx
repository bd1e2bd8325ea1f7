// What people say about lines of changes.

import { Check, CornerDownRight, RotateCcw, Send } from "lucide-react";
import { useEffect, useRef, type ReactNode } from "react";

import { Badge, Button, FIELD, Spinner, Trouble } from "../controls.tsx";
import { keep, useKept } from "../kept.ts";
import type { Comment } from "../protocol.ts";
import { dismiss } from "../store.ts";
import { clockOf } from "../words.ts";
import { reply, settle, useDeed } from "./deeds.ts";

/** One thread with its replies; `place` says where it is, where that cannot be seen. */
export function Thread({ thread, place }: { thread: Comment; place?: ReactNode }) {
  const name = `comment:${thread.id}`;
  const deed = useDeed(name);
  const isBusy = deed?.state === "busy";
  const isOpen = thread.status === "open";
  const said = (
    <>
      <Said by={thread.by} at={thread.created_at} body={thread.body} />
      {thread.replies.map((each) => (
        <div key={each.id} className="flex gap-1.5 pl-1">
          <CornerDownRight aria-hidden className="mt-0.5 size-3 shrink-0 text-faint" />
          <Said by={each.by} at={each.created_at} body={each.body} />
        </div>
      ))}
    </>
  );
  return (
    <article
      aria-label={`Comment on line ${thread.line} of ${thread.file_path}`}
      className="m-2 flex flex-col gap-2 rounded-md border border-line bg-raised p-2.5 font-sans text-xs"
    >
      {place}
      {isOpen ? (
        said
      ) : (
        <details>
          <summary className="flex list-none items-center gap-2 text-faint [&::-webkit-details-marker]:hidden">
            <Settled thread={thread} />
            <span className="min-w-0 flex-1 truncate">{thread.body}</span>
          </summary>
          <div className="flex flex-col gap-2 pt-2">{said}</div>
        </details>
      )}
      <div className="flex flex-wrap items-center gap-2">
        {isOpen && <WordsForm name={`reply.${thread.id}`} label="Reply" verb="Reply" isSmall isBusy={isBusy} onSend={(body) => reply(thread, body)} />}
        <span className="ml-auto flex items-center gap-2">
          <Sent thread={thread} />
          {isOpen || thread.status === "outdated" ? (
            <Button size="small" disabled={isBusy} onClick={() => void settle(thread, "resolved")}>
              <Check aria-hidden className="size-3.5" /> Resolve
            </Button>
          ) : (
            <Button look="quiet" size="small" disabled={isBusy} onClick={() => void settle(thread, "open")}>
              <RotateCcw aria-hidden className="size-3.5" /> Open again
            </Button>
          )}
        </span>
      </div>
      {deed?.state === "refused" && <Trouble words={deed.words} onDismiss={() => dismiss(name)} />}
    </article>
  );
}

function Said({ by, at, body }: { by: string; at: string; body: string }) {
  return (
    <div className="min-w-0">
      <p className="text-2xs text-faint">
        <span className="font-medium text-soft">{by}</span> · {clockOf(at)}
      </p>
      <p className="[overflow-wrap:anywhere] whitespace-pre-wrap">{body}</p>
    </div>
  );
}

function Settled({ thread }: { thread: Comment }) {
  if (thread.status === "outdated") return <Badge className="bg-ask-soft text-ask">outdated</Badge>;
  return (
    <span title={thread.reason ?? undefined} className="flex shrink-0 items-center gap-1">
      <Check aria-hidden className="size-3.5 text-good" />
      resolved{thread.resolved_by && ` by ${thread.resolved_by}`}
    </span>
  );
}

function Sent({ thread }: { thread: Comment }) {
  if (thread.sent_at === null) return null;
  const more = thread.replies.length - thread.sent_replies;
  return (
    <span title={`Sent to an agent ${clockOf(thread.sent_at)}`} className="flex items-center gap-1 text-2xs text-faint">
      <Send aria-hidden className="size-3" /> sent{more > 0 && ", more since"}
    </span>
  );
}

interface WordsFormProps {
  /** Under this name the draft is kept. */
  name: string;
  label: string;
  verb: string;
  isBusy: boolean;
  isSmall?: boolean;
  onSend: (words: string) => Promise<boolean>;
  onCancel?: () => void;
}

/** Words that are not sent yet survive a reload. Enter sends, Shift+Enter begins a line. */
export function WordsForm({ name, label, verb, isBusy, isSmall = false, onSend, onCancel }: WordsFormProps) {
  const [words, setWords] = useKept(`coder.words.${name}`, "");
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (!isSmall) box.current?.focus();
  }, [isSmall]);
  const send = async () => {
    if (!words.trim() || isBusy) return;
    if (!(await onSend(words.trim()))) return;
    // The form may be gone before it could forget its draft.
    keep(`coder.words.${name}`, "");
    setWords("");
    onCancel?.();
  };
  return (
    <form
      className={isSmall ? "flex min-w-0 flex-1 basis-40 items-center gap-2" : "flex flex-col gap-2"}
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing) return;
        if (event.key === "Escape" && onCancel) {
          event.preventDefault();
          onCancel();
        } else if (event.key === "Enter" && !event.shiftKey && event.target instanceof HTMLTextAreaElement) {
          event.preventDefault();
          void send();
        }
      }}
    >
      <textarea
        ref={box}
        aria-label={label}
        placeholder={label}
        rows={isSmall ? 1 : 2}
        maxLength={20000}
        value={words}
        onChange={(event) => setWords(event.target.value)}
        className={`${FIELD} min-h-7 resize-y text-xs [field-sizing:content] max-h-48 ${isSmall ? "py-1" : ""}`}
      />
      {(!isSmall || words.trim()) && (
        <div className="flex shrink-0 gap-2">
          <Button type="submit" look="solid" className={isSmall ? "h-7" : ""} disabled={!words.trim() || isBusy}>
            {isBusy && <Spinner />} {verb}
          </Button>
          {onCancel && (
            <Button look="quiet" onClick={onCancel}>
              Cancel
            </Button>
          )}
        </div>
      )}
    </form>
  );
}
