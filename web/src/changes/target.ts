// Where what is applied goes to: chosen once for a session, in this browser.

import { createContext, useContext } from "react";

import type { ApplyChange } from "../protocol.ts";

export type Target = NonNullable<ApplyChange["target"]>;

export const TargetContext = createContext<Target>("checkout");

export function useTarget(): Target {
  return useContext(TargetContext);
}
