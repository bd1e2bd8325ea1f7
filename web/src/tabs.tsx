import { FileDiff, List, MessageSquare, type LucideIcon } from "lucide-react";

import { showTab, useLayout, type Tab } from "./layout.ts";
import type { Route } from "./route.ts";
import { pendingIn } from "./session.tsx";
import { activityIn, usePane } from "./store.ts";

/** On a phone: one column at a time, chosen below. */
export function Tabs({ route }: { route: Route }) {
  const asking = usePane((state) => state.sessions.filter(({ id }) => activityIn(state, id) === "needs_you").length);
  const pending = usePane((state) => (route.place === "session" ? pendingIn(state.views[route.id]) : 0));
  return (
    <nav aria-label="Columns" className="flex shrink-0 border-t border-line bg-surface pb-[env(safe-area-inset-bottom)]">
      <Choice tab="sessions" word="Sessions" icon={List} count={asking} />
      <Choice tab="talk" word={route.place === "session" ? "Conversation" : route.place === "agents" ? "Agents" : "Start"} icon={MessageSquare} count={0} />
      {route.place === "session" && <Choice tab="part" word="Changes" icon={FileDiff} count={pending} />}
    </nav>
  );
}

interface ChoiceProps {
  tab: Tab;
  word: string;
  icon: LucideIcon;
  count: number;
}

function Choice({ tab, word, icon: Icon, count }: ChoiceProps) {
  const isHere = useLayout((state) => state.tab === tab);
  return (
    <button
      type="button"
      aria-current={isHere ? "true" : undefined}
      onClick={() => showTab(tab)}
      className="flex h-13 min-w-0 flex-1 flex-col items-center justify-center gap-0.5 text-2xs text-soft aria-[current]:font-medium aria-[current]:text-live"
    >
      <span className="relative">
        <Icon aria-hidden className="size-5" />
        {count > 0 && (
          <span className="absolute -top-1.5 -right-3 min-w-4 rounded-full bg-ask-strong px-1 text-center text-2xs leading-4 font-semibold text-on-ask tabular-nums">{count}</span>
        )}
      </span>
      {word}
    </button>
  );
}
