// The page for users without a valid key, and the page without a server.

import { useState } from "preact/hooks";
import { Failure, useTitle } from "../parts/basic";
import { type ApiError, isKey, isPassing, setKey } from "../http";
import { AGAIN_MS, useEvery } from "../resource";
import { identify } from "../session";

export function Login({ reason }: { reason: string }) {
  const [key, setInput] = useState("");
  const [busy, setBusy] = useState(false);
  useTitle("Log in");
  const [wrong, setWrong] = useState("");
  const login = async (): Promise<void> => {
    const given = key.trim();
    if (!isKey(given)) {
      setWrong("A key has only letters from a to z, digits and signs, and no spaces. Copy it again.");
      return;
    }
    setWrong("");
    setBusy(true);
    setKey(given);
    await identify();
    setBusy(false);
  };
  return (
    <main class="alone">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void login();
        }}
      >
        <img src="icon.svg" alt="" width="40" height="40" />
        <h1>Log in to Tasker</h1>
        {(wrong || reason) && (
          <p class="notice bad" role="alert">
            {wrong || `The server refused the key: ${reason}.`}
          </p>
        )}
        <label>
          API key or token
          <input
            type="password"
            name="key"
            required
            autofocus
            autocomplete="off"
            spellcheck={false}
            value={key}
            onInput={(event) => {
              setInput(event.currentTarget.value);
            }}
          />
        </label>
        <button type="submit" class="primary" disabled={busy}>
          Log in
        </button>
        <p class="faint">The key stays in this tab. The browser forgets it when you close the tab.</p>
      </form>
    </main>
  );
}

export function Unreachable({ error }: { error: ApiError }) {
  useTitle("No server");
  useEvery(AGAIN_MS, isPassing(error), () => void identify());
  return (
    <main class="alone">
      <div class="card">
        <h1>Tasker</h1>
        <Failure
          error={error}
          retry={() => {
            void identify();
          }}
        />
      </div>
    </main>
  );
}
