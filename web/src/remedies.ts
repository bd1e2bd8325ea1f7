// What a person can do about a turn that failed.

export interface Remedy {
  readonly words: string;
  /** Where it is done. */
  readonly place: "agents" | "changes" | null;
}

const REMEDIES: Readonly<Record<string, Remedy>> = {
  auth_required: { words: "Sign in to the agent, then send the prompt again.", place: "agents" },
  agent_unavailable: { words: "See what the agent needs, or choose another one.", place: "agents" },
  agent_failed: { words: "Send it again, or choose another agent.", place: null },
  agent_died: { words: "The agent's program ended. Sending again starts it anew and takes its conversation up where it can.", place: null },
  agent_timeout: { words: "The agent said nothing for too long. Send it again, perhaps in smaller steps.", place: null },
  agent_protocol: { words: "The agent gave an error for an answer. Send it again, or choose another agent.", place: null },
  interrupted: { words: "The host stopped meanwhile. What was done until then is in the worktree: look at it before you send it again.", place: "changes" },
  attachment_not_taken: { words: "Take the file away, or choose an agent that takes it.", place: null },
  snapshot_failed: { words: "What the turn changed could not be recorded. The next turn tries again.", place: null },
  queue_full: { words: "Wait for a queued prompt to end, or withdraw one.", place: null },
};

export function remedyOf(code: string | undefined): Remedy | null {
  return code !== undefined && Object.hasOwn(REMEDIES, code) ? (REMEDIES[code] ?? null) : null;
}
