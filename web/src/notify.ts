// Calling a person who looks elsewhere: title, favicon and, where asked for, a notification.

import { prefer, usePreferences } from "./preferences.ts";

export function canNotify(): boolean {
  return "Notification" in globalThis && window.isSecureContext && Notification.permission !== "denied";
}

/** Switch notifications on, which the browser asks the person about, or off. */
export async function askToNotify(wants: boolean): Promise<void> {
  const isAllowed = wants && canNotify() && (Notification.permission === "granted" || (await Notification.requestPermission()) === "granted");
  prefer({ notifies: isAllowed });
}

/** Only where it was asked for and nobody looks. */
export function callWith(title: string, body: string, tag: string, onClick: () => void): void {
  if (!usePreferences.getState().notifies || !canNotify() || Notification.permission !== "granted" || !document.hidden) return;
  const call = new Notification(title, { body, tag, icon: "./favicon.svg" });
  call.onclick = () => {
    window.focus();
    onClick();
    call.close();
  };
}

/** The favicon with a dot while somebody is wanted. */
export function markFavicon(isWanted: boolean): void {
  const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  const href = isWanted ? "./favicon-asking.svg" : "./favicon.svg";
  if (link && link.getAttribute("href") !== href) link.setAttribute("href", href);
}
