// What is being written just before the caret: a command of the agent, or the name of a file.

import { ranked } from "./fuzzy.ts";
import type { Command } from "./protocol.ts";

export type Wanted = { kind: "command" | "file"; query: string; from: number; to: number };

/** A command stands first in a prompt, a file anywhere after a blank. */
export function wantedAt(text: string, caret: number): Wanted | null {
  const before = text.slice(0, caret);
  const command = /^\/(\S*)$/.exec(before);
  if (command) return { kind: "command", query: command[1] ?? "", from: 0, to: caret };
  const file = /(?:^|[\s(])@([^\s@]*)$/.exec(before);
  if (file) return { kind: "file", query: file[1] ?? "", from: caret - (file[1] ?? "").length - 1, to: caret };
  return null;
}

/** The text with what was chosen in its place, and where the caret is then. */
export function completed(text: string, wanted: Wanted, chosen: string): { text: string; caret: number } {
  const rest = text.slice(wanted.to);
  const word = (wanted.kind === "command" ? `/${chosen}` : mentionOf(chosen)) + (/^\s/.test(rest) ? "" : " ");
  return { text: text.slice(0, wanted.from) + word + rest, caret: wanted.from + word.length + (/^\s/.test(rest) ? 1 : 0) };
}

export function mentionOf(path: string): string {
  return /\s/.test(path) ? `@"${path}"` : `@${path}`;
}

export function commandsFor(query: string, commands: readonly Command[]): Command[] {
  return ranked(query, commands, ({ name }) => name)
    .slice(0, 50)
    .map(({ thing }) => thing);
}

/** The files of `mentioned` that the text still names. */
export function stillMentioned(text: string, mentioned: readonly string[]): string[] {
  return mentioned.filter((path) => {
    const at = text.indexOf(mentionOf(path));
    return at >= 0 && !/^[\w./-]/.test(text.slice(at + mentionOf(path).length).replace(/^[.,;:!?]+(?=\s|$)/, ""));
  });
}

/** The prompts of the past, one step back or forth. `at` counts from the newest; -1 is what is being written. */
export function stepped(past: readonly string[], at: number, by: 1 | -1): number {
  return Math.max(-1, Math.min(past.length - 1, at + by));
}
