import { FileDiff, GitBranch, Pencil, Trash2, X } from "lucide-react";
import { useContext, useEffect, useState } from "react";

import { useAction } from "./actions.ts";
import { useSeeing } from "./calls.ts";
import { CloseSession } from "./close-session.tsx";
import { ColumnContext, closeColumn } from "./columns.ts";
import { Composer } from "./composer.tsx";
import { Badge, Button, Dialog, FIELD, Field, IconButton, Spinner, Trouble } from "./controls.tsx";
import { activityOf, type Standing } from "./fold.ts";
import { look } from "./follow.ts";
import { useTip } from "./kbd.tsx";
import { showPart, useIsWide } from "./layout.ts";
import { marked } from "./marks.ts";
import { PHONE, useMedia } from "./media.ts";
import { PartButtons } from "./part.tsx";
import { PermissionCard } from "./permission.tsx";
import type { Session } from "./protocol.ts";
import { addressOf } from "./route.ts";
import { SandboxBadge } from "./sandbox.tsx";
import { editSession } from "./sessions.ts";
import { SetupLine } from "./setup.tsx";
import { dismiss, sessionIn, usePane, useStanding } from "./store.ts";
import { Transcript } from "./transcript.tsx";
import { ACTIVITY, AGENT, shownTitle } from "./words.ts";

export function SessionScreen({ id }: { id: string }) {
  const view = useStanding(id);
  const session = usePane((state) => sessionIn(state, id));
  const gone = usePane((state) => state.gone[id]);
  const isWide = useIsWide();
  useSeeing(id);
  useEffect(() => {
    if (!gone) look(id);
  }, [id, gone]);
  if (gone) return <Gone id={id} words={gone} />;
  return (
    <div className="flex h-full min-w-0 flex-col">
      <Head session={session} view={view} pending={pendingIn(view)} />
      {view ? (
        <Conversation id={id} view={view} onShowChanges={() => showPart("changes", isWide)} />
      ) : (
        <p role="status" className="flex flex-1 items-center justify-center gap-2 text-faint">
          <Spinner /> Loading the session…
        </p>
      )}
    </div>
  );
}

export function pendingIn(view: Standing | undefined): number {
  return view ? Object.values(view.facts.changes).filter((change) => change.status === "pending").length : 0;
}

function Conversation({ id, view, onShowChanges }: { id: string; view: Standing; onShowChanges: () => void }) {
  const asked = Object.values(view.facts.permissions)
    .filter((request) => request.status === "pending")
    .sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
  const first = asked[0];
  return (
    <>
      <Transcript id={id} onShowChanges={onShowChanges} />
      <Announcer id={id} view={view} />
      <div className="mx-auto flex w-full max-w-[46rem] shrink-0 flex-col gap-2.5 px-3 pb-2.5 sm:px-6">
        {first && <PermissionCard key={first.id} request={first} more={asked.length - 1} root={view.facts.session.worktree_path} />}
        <Refusals view={view} />
        <SetupLine view={view} />
        <Composer key={id} id={id} view={view} />
      </div>
    </>
  );
}

/** A stop that was refused is said where the button is. */
function Refusals({ view }: { view: Standing }) {
  const deeds = usePane((state) => state.deeds);
  const running = Object.values(view.facts.tasks).find((task) => task.state === "running");
  const deed = running ? deeds[`cancel:${running.id}`] : undefined;
  if (deed?.state !== "refused" || !running) return null;
  return <Trouble words={deed.words} onDismiss={() => dismiss(`cancel:${running.id}`)} />;
}

/** For screen readers: what changed, once per change and never per token. */
function Announcer({ id, view }: { id: string; view: Standing }) {
  const activity = activityOf(view.facts);
  const asked = Object.values(view.facts.permissions).find((request) => request.status === "pending");
  const ended = usePane((state) => state.views[id]?.story.items.findLast((item) => item.kind === "turn"));
  const words = asked
    ? `${asked.agent} asks for permission: ${marked(shownTitle(asked.tool_call, view.facts.session.worktree_path))}`
    : (activity === "idle" || activity === "failed") && ended
      ? `${ended.agent ?? "The agent"} has ended: ${activity === "failed" ? "failed" : "done"}`
      : ACTIVITY[activity];
  return (
    <p role="status" aria-label="State of the session" className="sr-only">
      {words}
    </p>
  );
}

interface HeadProps {
  session: Session | undefined;
  view: Standing | undefined;
  pending: number;
}

function Head({ session, view, pending }: HeadProps) {
  const isPhone = useMedia(PHONE);
  const column = useContext(ColumnContext);
  const hasOthers = column !== null && column.count > 1;
  const hasKeys = column?.hasKeys ?? true;
  const [dialog, setDialog] = useState<"rename" | "close" | null>(null);
  const tip = useTip("column.close", "Close this column");
  useAction("session.rename", session && (() => setDialog("rename")));
  useAction("session.close", session && (() => setDialog("close")));
  return (
    <header
      className={`@container flex h-12 shrink-0 items-center border-b border-line ${hasKeys ? "bg-surface" : "bg-paper text-soft"} ${hasOthers && hasKeys ? "shadow-[inset_0_2px_0_var(--live)]" : ""}`}
    >
      <div className="flex min-w-0 flex-1 items-center gap-2 px-3 @xl:px-4">
        <h1 className="truncate font-semibold tracking-tight">{session?.name ?? "Session"}</h1>
        {session && (
          <>
            <span className={`shrink-0 items-center ${hasOthers ? "hidden @lg:flex" : "flex"}`}>
              <IconButton label="Rename session" className="size-6 text-faint" onClick={() => setDialog("rename")}>
                <Pencil aria-hidden className="size-3.5" />
              </IconButton>
              <IconButton label="Close session" className="size-6 text-faint" onClick={() => setDialog("close")}>
                <Trash2 aria-hidden className="size-3.5" />
              </IconButton>
            </span>
            {session.branch && (
              <span title={session.worktree_path ?? undefined} className="hidden min-w-0 items-center gap-1 font-mono text-2xs text-faint @lg:flex">
                <GitBranch aria-hidden className="size-3 shrink-0" />
                <span className="truncate">{session.branch}</span>
              </span>
            )}
            <SandboxBadge view={view} />
          </>
        )}
        <span className="ml-auto hidden items-center gap-1.5 @2xl:flex">
          {view &&
            Object.entries(view.facts.agents).map(([agent, { status, message }]) => (
              <Badge key={agent} className={status === "crashed" || status === "error" ? "bg-bad-soft text-bad" : "bg-sunken text-soft"}>
                <span title={message ?? undefined}>
                  {agent} · {AGENT[status]}
                </span>
              </Badge>
            ))}
        </span>
        <span className="ml-auto flex shrink-0 items-center gap-1 @2xl:ml-1">
          {!isPhone && hasKeys && <PartButtons pending={pending} />}
          {!hasKeys && pending > 0 && (
            <span title="Changes that wait for a decision" className="flex items-center gap-1 text-xs tabular-nums">
              <FileDiff aria-hidden className="size-4" /> {pending} <span className="sr-only">changes waiting</span>
            </span>
          )}
          {hasOthers && (
            <IconButton label="Close this column" title={tip} onClick={() => closeColumn(column.id)}>
              <X aria-hidden className="size-4" />
            </IconButton>
          )}
        </span>
      </div>
      {session && dialog === "rename" && <Rename session={session} onClose={() => setDialog(null)} />}
      {session && dialog === "close" && <CloseSession session={session} view={view} onClose={() => setDialog(null)} />}
    </header>
  );
}

function Rename({ session, onClose }: { session: Session; onClose: () => void }) {
  const [name, setName] = useState(session.name);
  const deed = usePane((state) => state.deeds[`session:${session.id}`]);
  return (
    <Dialog title="Rename session" onClose={onClose}>
      <form
        className="flex flex-col gap-4"
        onSubmit={async (event) => {
          event.preventDefault();
          if (await editSession(session.id, { name: name.trim() })) onClose();
        }}
      >
        <Field label="Name">
          <input data-first required maxLength={200} value={name} onChange={(event) => setName(event.target.value)} className={`${FIELD} h-9`} />
        </Field>
        {deed?.state === "refused" && <Trouble words={deed.words} />}
        <div className="flex justify-end">
          <Button type="submit" look="solid" disabled={!name.trim() || deed?.state === "busy"}>
            Rename
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function Gone({ id, words }: { id: string; words: string }) {
  const column = useContext(ColumnContext);
  return (
    <div className="grid h-full place-items-center p-6 text-center">
      <div className="flex flex-col items-center gap-3">
        <h1 className="text-lg font-semibold">There is no such session</h1>
        <p className="text-soft">{words.charAt(0).toUpperCase() + words.slice(1)}</p>
        {column && column.count > 1 ? (
          <Button onClick={() => closeColumn(id)}>Close this column</Button>
        ) : (
          <a href={addressOf({ place: "home" })} className="text-live underline underline-offset-2">
            Back to the start
          </a>
        )}
      </div>
    </div>
  );
}
