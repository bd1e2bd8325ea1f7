import { describe, expect, it } from "vitest";

import { isNews } from "./calls.ts";

describe("A person is called", () => {
  const idle = { activity: "idle", end: "2026-01-01" } as const;

  it("when an agent begins to ask, once", () => {
    expect(isNews(idle, { ...idle, activity: "needs_you" })).toBe(true);
    expect(isNews({ ...idle, activity: "needs_you" }, { ...idle, activity: "needs_you" })).toBe(false);
  });

  it("when a turn has ended, also one that was never seen to run", () => {
    expect(isNews(idle, { activity: "idle", end: "2026-01-02" })).toBe(true);
    expect(isNews({ ...idle, activity: "needs_you" }, { activity: "failed", end: "2026-01-02" })).toBe(true);
    expect(isNews(idle, { activity: "working", end: "2026-01-02" })).toBe(false);
    expect(isNews(idle, { ...idle, activity: "working" })).toBe(false);
    expect(isNews({ ...idle, activity: "working" }, idle)).toBe(false);
  });
});
