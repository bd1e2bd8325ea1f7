// One pending file: what it is, and the decision about all of it.

import { Check, ChevronRight, Eye, EyeOff, MessageSquare, X } from "lucide-react";
import { Suspense, lazy, memo, useRef, useState, type KeyboardEvent } from "react";

import { Badge, Button, Spinner } from "../controls.tsx";
import type { Facts } from "../fold.ts";
import { isWriting } from "../keys.ts";
import type { Change } from "../protocol.ts";
import { Wait } from "../tool.tsx";
import { OPERATION } from "../words.ts";
import { Authors, Extent, Letter, Path, Secret } from "./badges.tsx";
import { apply, reject, useFileDeed } from "./deeds.ts";
import { Queued, Reason, Refusal } from "./notes.tsx";
import { useTarget } from "./target.ts";
import type { ViewState } from "./viewed.ts";

const ChangeText = lazy(() => import("./text.tsx"));

interface FileProps {
  change: Change;
  comments: Facts["comments"];
  isOpen: boolean;
  isSplit: boolean;
  isRunning: boolean;
  viewState: ViewState;
  withoutFolder: boolean;
  onOpen: (path: string, isOpen: boolean) => void;
  onView: (change: Change, isViewed: boolean) => void;
}

export const File = memo(function File({ change, comments, isOpen, isSplit, isRunning, viewState, withoutFolder, onOpen, onView }: FileProps) {
  const [isAsking, setAsking] = useState(false);
  const head = useRef<HTMLButtonElement>(null);
  const { name, deed } = useFileDeed(change);
  const target = useTarget();
  const isBusy = deed?.state === "busy";
  const isQueued = change.queued.some(({ hunks }) => hunks === null);
  const said = Object.values(comments).filter((thread) => thread.status === "open" && thread.file_path === change.file_path).length;
  const path = change.file_path;
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
    if (event.key === "a" && !isBusy && !isQueued) void apply(change, null, target);
    else if (event.key === "r" && !isBusy && !isQueued) setAsking(true);
    else if (event.key === "v") onView(change, viewState !== "viewed");
    else if (event.key === "ArrowRight" && !isOpen) onOpen(path, true);
    else if (event.key === "ArrowLeft" && isOpen) {
      onOpen(path, false);
      head.current?.focus();
    } else return;
    event.preventDefault();
  };
  return (
    <li aria-label={path} onKeyDown={press} className="@container border-b border-line">
      <div className="sticky top-0 z-[2] flex min-h-9 items-center gap-2 bg-surface px-2.5 hover:[background:color-mix(in_srgb,var(--hover)_45%,var(--surface))]">
        <ChevronRight aria-hidden className={`size-3.5 shrink-0 text-faint transition-transform ${isOpen ? "rotate-90" : ""}`} />
        <Letter operation={change.operation} />
        <button
          ref={head}
          type="button"
          data-stop="file"
          aria-expanded={isOpen}
          aria-label={`${OPERATION[change.operation].word} ${path}`}
          title={change.old_path ? `${change.old_path} → ${path}` : path}
          onClick={() => onOpen(path, !isOpen)}
          className="flex min-w-0 flex-1 items-center gap-2 self-stretch py-1 text-left after:absolute after:inset-0 focus-visible:outline-none focus-visible:after:outline-2 focus-visible:after:-outline-offset-2 focus-visible:after:outline-live"
        >
          <span className={`min-w-0 ${viewState === "viewed" ? "text-faint" : ""}`}>
            <Path path={path} withoutFolder={withoutFolder} />
          </span>
        </button>
        {viewState === "stale" && (
          <Badge className="bg-ask-soft text-ask">
            <span title="The file has changed since you viewed it">changed since</span>
          </Badge>
        )}
        {said > 0 && (
          <span title={`Open comments: ${said}`} className="flex items-center gap-0.5 text-2xs text-faint tabular-nums">
            <MessageSquare aria-hidden className="size-3" />
            {said}
          </span>
        )}
        {change.is_secret && <Secret />}
        <span className="hidden min-w-0 items-center gap-1 @min-[20rem]:flex">
          <Authors change={change} />
        </span>
        <Extent change={change} />
        <span className="relative flex items-center">
          <Mini label={`${viewState === "viewed" ? "Not viewed" : "Viewed"}: ${path}`} title="Viewed (v)" isOn={viewState === "viewed"} onClick={() => onView(change, viewState !== "viewed")}>
            {viewState === "viewed" ? <EyeOff aria-hidden className="size-3.5" /> : <Eye aria-hidden className="size-3.5" />}
          </Mini>
          <Mini label={`Reject ${path}`} title="Reject (r)" disabled={isBusy || isQueued} onClick={() => setAsking(true)}>
            <X aria-hidden className="size-4" />
          </Mini>
          <Mini label={`Apply ${path}`} title="Apply (a)" disabled={isBusy || isQueued} onClick={() => void apply(change, null, target)}>
            {isBusy ? <Spinner /> : <Check aria-hidden className="size-4 text-good" />}
          </Mini>
        </span>
      </div>
      {(isAsking || deed?.state === "refused" || change.queued.length > 0) && (
        <div className="flex flex-col gap-2 px-2.5 pt-1 pb-2">
          {isAsking && (
            <Reason
              question="Put this file back as before?"
              later={isRunning}
              verb="Reject"
              onYes={(reason) => {
                setAsking(false);
                head.current?.focus();
                void reject(change, null, reason);
              }}
              onNo={() => {
                setAsking(false);
                head.current?.focus();
              }}
            />
          )}
          <Queued change={change} />
          <Refusal name={name} deed={deed} again={<Button onClick={() => void apply(change, null, target)}>Try again</Button>} />
        </div>
      )}
      {isOpen && (
        <Suspense fallback={<Wait />}>
          <ChangeText change={change} comments={comments} isSplit={isSplit} isRunning={isRunning} />
        </Suspense>
      )}
    </li>
  );
});

interface MiniProps {
  label: string;
  title: string;
  disabled?: boolean;
  isOn?: boolean;
  onClick: () => void;
  children: React.ReactNode;
}

function Mini({ label, title, disabled = false, isOn, onClick, children }: MiniProps) {
  return (
    <button
      type="button"
      aria-label={label}
      aria-pressed={isOn}
      title={title}
      disabled={disabled}
      onClick={onClick}
      className="inline-flex size-7 items-center justify-center rounded-md text-soft transition-colors hover:bg-line hover:text-ink disabled:opacity-40"
    >
      {children}
    </button>
  );
}
