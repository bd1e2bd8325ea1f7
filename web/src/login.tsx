import { useState } from "react";

import { Button, FIELD, Field, Trouble } from "./controls.tsx";
import { logIn } from "./follow.ts";
import { Mark } from "./mark.tsx";
import { usePane } from "./store.ts";

export function Login() {
  const trouble = usePane((state) => state.trouble);
  const [token, setToken] = useState("");
  const [isBusy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    await logIn(token);
    setBusy(false);
  };
  return (
    <main className="grid h-full place-items-center p-6">
      <form
        aria-label="Log in"
        className="flex w-full max-w-sm flex-col gap-5"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <Mark className="size-10" />
        <div>
          <h1 className="text-xl font-semibold tracking-tight">Log in to coder</h1>
          <p className="mt-1.5 text-soft">
            The host prints a login link when it starts. Open that link, or paste it or its token here.
          </p>
        </div>
        <Field label="Login link or token" hint={
            <>
              In a terminal on the host's machine, <code className="font-mono text-ink">coder token</code> prints it again.
            </>
          }>
          <input
            type="password"
            autoComplete="current-password"
            autoFocus
            required
            value={token}
            onChange={(event) => setToken(event.target.value)}
            className={`${FIELD} h-9 font-mono`}
          />
        </Field>
        {trouble && <Trouble words={trouble} />}
        <Button type="submit" look="solid" className="h-9 text-sm" disabled={isBusy || !token.trim()}>
          {isBusy ? "Logging in…" : "Log in"}
        </Button>
      </form>
    </main>
  );
}
