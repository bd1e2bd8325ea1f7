// The small parts that everything is made of.

import { LoaderCircle, X } from "lucide-react";
import { useEffect, useRef, type ComponentProps, type ReactNode } from "react";

import type { Activity } from "./fold.ts";
import { ACTIVITY } from "./words.ts";

type Look = "solid" | "plain" | "quiet" | "ask" | "danger";

const LOOKS: Record<Look, string> = {
  solid: "bg-ink text-on-ink hover:opacity-85",
  plain: "border border-line-strong bg-raised hover:bg-hover",
  quiet: "text-soft hover:bg-hover hover:text-ink",
  ask: "bg-ask-strong text-on-ask hover:brightness-105",
  danger: "bg-bad-soft text-bad hover:brightness-95 dark:hover:brightness-125",
};

const SIZES = { normal: "h-7 px-2.5 text-xs", small: "h-6 px-2 text-2xs" };
type Size = keyof typeof SIZES;

export function Button({ look = "plain", size = "normal", className = "", ...rest }: ComponentProps<"button"> & { look?: Look; size?: Size }) {
  return (
    <button
      type="button"
      className={`inline-flex shrink-0 items-center justify-center gap-1.5 rounded-md font-medium whitespace-nowrap transition-colors disabled:opacity-45 ${SIZES[size]} ${LOOKS[look]} ${className}`}
      {...rest}
    />
  );
}

export function IconButton({ label, className = "", ...rest }: ComponentProps<"button"> & { label: string }) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`inline-flex size-7 shrink-0 items-center justify-center rounded-md text-soft transition-colors hover:bg-hover hover:text-ink disabled:opacity-45 ${className}`}
      {...rest}
    />
  );
}

export function Spinner({ className = "size-3.5" }: { className?: string }) {
  return <LoaderCircle aria-hidden className={`animate-turn ${className}`} />;
}

const DOTS: Record<Activity, string> = {
  needs_you: "bg-ask-strong",
  working: "animate-breathe bg-live",
  waiting: "border border-live",
  failed: "bg-bad",
  idle: "bg-line-strong",
};

export function ActivityDot({ activity }: { activity: Activity }) {
  return <span role="img" aria-label={ACTIVITY[activity]} className={`size-2 shrink-0 rounded-full ${DOTS[activity]}`} />;
}

export function Badge({ children, className = "bg-sunken text-soft" }: { children: ReactNode; className?: string }) {
  return (
    <span className={`inline-flex items-center gap-1 rounded-sm px-1.5 text-2xs font-medium whitespace-nowrap ${className}`}>
      {children}
    </span>
  );
}

export function Trouble({ words, onDismiss, children }: { words: string; onDismiss?: () => void; children?: ReactNode }) {
  return (
    <div role="alert" className="flex items-start gap-2 rounded-md bg-bad-soft px-2.5 py-1.5 text-xs text-bad">
      <span className="min-w-0 flex-1 self-center break-words">{words}</span>
      {children}
      {onDismiss && (
        <button type="button" aria-label="Dismiss" onClick={onDismiss} className="rounded-sm p-0.5 hover:opacity-70">
          <X aria-hidden className="size-3.5" />
        </button>
      )}
    </div>
  );
}

interface DialogProps {
  title: string;
  isWide?: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** A modal dialog: the browser keeps the focus inside and closes it on Escape. */
export function Dialog({ title, isWide = false, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current?.showModal();
    dialog.current?.querySelector<HTMLElement>("[data-first]")?.focus();
    return () => {
      // Closed by what was done in it: the browser gives the focus back only where the person closed it.
      if (document.activeElement === document.body && opener instanceof HTMLElement) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-label={title}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
      className={`${isWide ? "w-[min(52rem,calc(100vw-2rem))]" : "w-[min(28rem,calc(100vw-2rem))]"} rounded-lg border border-line bg-surface shadow-raised`}
    >
      <div className="flex flex-col gap-4 p-5">
        <div className="flex items-center justify-between">
          <h2 className="text-lg font-semibold tracking-tight">{title}</h2>
          <IconButton label="Close" onClick={() => dialog.current?.close()}>
            <X aria-hidden className="size-4" />
          </IconButton>
        </div>
        {children}
      </div>
    </dialog>
  );
}

export const FIELD =
  "w-full rounded-md border border-line-strong bg-raised px-2.5 py-1.5 text-sm outline-none focus-visible:border-live focus-visible:outline-1 focus-visible:outline-offset-0";

export function Field({ label, hint, children }: { label: string; hint?: ReactNode; children: ReactNode }) {
  return (
    <label className="flex flex-col gap-1">
      <span className="text-xs font-medium text-soft">{label}</span>
      {children}
      {hint && <span className="text-2xs text-faint">{hint}</span>}
    </label>
  );
}
