import { useEffect, useState } from "react";

import { connectNow } from "./follow.ts";
import { usePane } from "./store.ts";

function useSecondsUntil(time: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  return Math.max(0, Math.ceil((time - now) / 1000));
}

/** The state of the live link, in the side bar: calm while all is well. */
export function LinkState() {
  const link = usePane((state) => state.link);
  return (
    <p role="status" aria-label="Connection" className="flex items-center gap-2 text-2xs text-faint">
      <span
        aria-hidden
        className={`size-1.5 rounded-full ${link.state === "online" ? "bg-good" : link.state === "connecting" ? "animate-breathe bg-ask-strong" : "bg-bad"}`}
      />
      {link.state === "online" ? `Connected · ${link.version}` : link.state === "connecting" ? "Connecting…" : "Disconnected"}
    </p>
  );
}

/** Said across the top as soon as what is shown may be old. */
export function LinkBanner() {
  const link = usePane((state) => state.link);
  if (link.state === "waiting") return <Waiting why={link.why} retryAt={link.retryAt} />;
  if (link.state === "closed" && link.why === "refused") {
    return (
      <Banner>
        The host refuses this address. Open the pane under the address in the login link, or add this one to
        CODER_ALLOWED_ORIGINS.
      </Banner>
    );
  }
  return null;
}

function Waiting({ why, retryAt }: { why: string; retryAt: number }) {
  const seconds = useSecondsUntil(retryAt);
  return (
    <Banner>
      <span>
        {why.charAt(0).toUpperCase() + why.slice(1)}. What you see may be old; nothing you sent is lost.{" "}
        {seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…"}
      </span>
      <button type="button" onClick={connectNow} className="font-medium underline underline-offset-2">
        Try now
      </button>
    </Banner>
  );
}

function Banner({ children }: { children: React.ReactNode }) {
  return (
    <div role="alert" className="flex flex-wrap items-center gap-x-3 bg-ask-soft px-4 py-1.5 text-xs text-ask">
      {children}
    </div>
  );
}
