// A WebSocket that is opened once what it needs was fetched.

import type { Plug } from "./socket.ts";

const OPEN = 1;
const CLOSED = 3;

export class LatePlug implements Plug {
  onopen: Plug["onopen"] = null;
  onmessage: Plug["onmessage"] = null;
  onclose: Plug["onclose"] = null;
  #plug: Plug | null = null;
  #isClosed = false;

  /** `codeOf` says which close code a failure to open stands for. */
  constructor(open: () => Promise<Plug>, codeOf: (error: unknown) => number) {
    open().then(
      (plug) => this.#use(plug),
      (error: unknown) => !this.#isClosed && this.#end(codeOf(error)),
    );
  }

  get readyState(): number {
    return this.#isClosed ? CLOSED : (this.#plug?.readyState ?? 0);
  }

  send(text: string): void {
    if (this.readyState === OPEN) this.#plug?.send(text);
  }

  close(code?: number): void {
    this.#isClosed = true;
    this.#plug?.close(code);
  }

  #use(plug: Plug): void {
    if (this.#isClosed) return plug.close();
    this.#plug = plug;
    plug.onopen = () => this.onopen?.();
    plug.onmessage = (message) => this.onmessage?.(message);
    plug.onclose = ({ code }) => this.#end(code);
  }

  #end(code: number): void {
    this.#isClosed = true;
    this.onclose?.({ code });
  }
}
