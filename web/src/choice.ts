// Whom a prompt goes to, and how: kept per session, and the newest one for sessions to come.

import { keep, kept } from "./kept.ts";

export interface Choice {
  agent: string | null;
  models: Record<string, string>;
  modes: Record<string, string>;
  thinking: Record<string, string>;
}

const NO_CHOICE: Choice = { agent: null, models: {}, modes: {}, thinking: {} };
const NEWEST = "coder.choice";
const nameOf = (session: string) => `${NEWEST}.${session}`;

/** What was chosen in the session, else what was chosen last in any. */
export function choiceIn(session: string): Choice {
  return { ...NO_CHOICE, ...kept<Partial<Choice>>(nameOf(session), kept(NEWEST, {})) };
}

export function keepChoice(session: string, choice: Choice): void {
  keep(nameOf(session), choice);
  keep(NEWEST, choice);
}
