// Values in words and figures, the same everywhere.

import type { Activity, AgentStatus } from "./fold.ts";
import type { Change, ProviderSnapshot, Setup, ToolCall } from "./protocol.ts";

export const ACTIVITY: Record<Activity, string> = {
  needs_you: "Needs you",
  working: "Working",
  waiting: "Waiting",
  failed: "Failed",
  idle: "Idle",
};

export const AGENT: Record<AgentStatus, string> = {
  cold: "not started",
  starting: "starting",
  waking: "waking",
  idle: "warm",
  working: "working",
  closing: "closing",
  crashed: "crashed",
  error: "failing",
};

export const OPERATION: Record<Change["operation"], { letter: string; word: string }> = {
  create: { letter: "A", word: "Added" },
  edit: { letter: "M", word: "Modified" },
  delete: { letter: "D", word: "Deleted" },
  rename: { letter: "R", word: "Renamed" },
};

export const TOOL_STATUS: Record<ToolCall["status"], string> = {
  pending: "Waiting",
  running: "Running",
  completed: "Done",
  failed: "Failed",
};

/** What becomes of the running turn where a prompt is sent now. */
export const URGENCY = {
  steer: { word: "Steer", verb: "steers", title: "Add this to the running turn" },
  interrupt: { word: "Interrupt", verb: "interrupts", title: "Stop the turn and run this now" },
} as const;

export function durationOf(from: string, to: string): string {
  const seconds = Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export function clockOf(at: string): string {
  const time = new Date(at);
  return time.toDateString() === new Date().toDateString() ? clock.format(time) : `${day.format(time)} ${clock.format(time)}`;
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** A part of a whole; what is not all of it is not called so. */
export function partOf(part: number): string {
  return `${Math.floor(part * 100 + 1e-9)} %`;
}

/** A time that somebody waits, which may be very short. */
export function waitOf(seconds: number): string {
  if (seconds < 0.001) return "< 1 ms";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
}

export function memoryOf(bytes: number): string {
  const mebi = bytes / 2 ** 20;
  return mebi < 1000 ? `${Math.round(mebi)} MiB` : `${(mebi / 1024).toFixed(1)} GiB`;
}

export function tokensOf(tokens: number): string {
  return compact.format(tokens);
}

/** Why a prompt cannot go to this agent now, or null when it can. */
export function obstacleOf(provider: ProviderSnapshot): string | null {
  if (!provider.enabled) return "switched off";
  if (!provider.installed) return "not installed";
  if (provider.signed_in === false) return "signed out";
  if (!provider.usable) return provider.error ?? "not usable";
  return null;
}

/** The value in a form that a person can read. */
export function readable(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

// oxlint-disable-next-line no-control-regex
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

/** Terminal output as plain text: no colours, and what a carriage return overwrote is gone. */
export function plainOutput(output: string): string {
  return output
    .replace(ESCAPES, "")
    .split("\n")
    .map((line) => line.replace(/\r+$/, "").split("\r").at(-1))
    .join("\n");
}

/** A path below the worktree without the worktree, as a person would say it. */
export function shownPath(path: string, root: string | null): string {
  return root && path.startsWith(`${root}/`) ? path.slice(root.length + 1) : path;
}

/** What a call says it does, its paths as `shownPath` says them. */
export function shownTitle(call: ToolCall, root: string | null): string {
  const title = call.title || call.name || call.kind;
  return root ? title.replaceAll(`${root}/`, "") : title;
}

export function splitPath(path: string): { folder: string; name: string } {
  const cut = path.lastIndexOf("/") + 1;
  return { folder: path.slice(0, cut), name: path.slice(cut) };
}

/** How a worktree's own setup stands, and what follows for prompts. */
export function setupWords(setup: Setup): string {
  const waits = setup.holds ? " Prompts wait until it is run again or skipped." : "";
  switch (setup.state) {
    case "none":
      return "The repository asks for no setup.";
    case "untrusted":
      return "This repository wants to run commands in the new worktree. Prompts wait until you trust or skip them.";
    case "pending":
      return "The worktree's setup is about to run. Prompts wait for it.";
    case "running":
      return "The worktree is being set up. Prompts wait until that is done.";
    case "done":
      return "The worktree is set up.";
    case "failed":
      return `Setup failed: ${setup.error?.message ?? "no reason was given"}.${waits}`;
    case "skipped":
      return "The worktree's setup was skipped.";
  }
}
