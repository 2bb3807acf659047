// Dialogs, and the dialog of an action: what happens, why, and the request as curl.

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError, asApiError, curl, request } from "../http";
import { Copy, Failure } from "./basic";

type DialogProps = { title: string; close: () => void; children: ComponentChildren; wide?: boolean };

/** A modal dialog. Escape closes it, and the focus returns to where it was. */
export function Dialog({ title, close, children, wide = false }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Before the next key: a fast Tab must not move the focus behind the dialog that opens.
  useLayoutEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    return () => {
      dialog?.close();
    };
  }, []);
  return (
    <dialog ref={ref} class={wide ? "wide" : ""} aria-labelledby={id} onClose={close}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

export type Action = {
  title: string;
  /** What happens, in one or two sentences. */
  explain: ComponentChildren;
  /** The button that does it. */
  verb: string;
  danger?: boolean;
  /** `POST` if absent. */
  method?: "POST" | "PATCH";
  path: string;
  /** The request without the reason, or what is wrong in the fields. */
  body?: () => Record<string, unknown> | string;
  /** Whether the request takes a reason. */
  reason?: boolean;
};

type ActionProps = {
  action: Action;
  close: () => void;
  done: (response: unknown) => void;
  children?: ComponentChildren;
};

/** Asks for the reason of an action, and carries it out. */
export function ActionDialog({ action, close, done, children }: ActionProps) {
  const { title, explain, verb, danger = false, method = "POST", path, body, reason: takesReason = true } = action;
  const [reason, setReason] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const form = useId();

  const complete = (): Record<string, unknown> | string => {
    const given = body?.() ?? {};
    return typeof given === "string" ? given : { ...given, ...(reason.trim() && { reason: reason.trim() }) };
  };
  const submit = (): void => {
    const given = complete();
    if (typeof given === "string") {
      setError(new ApiError(given));
      return;
    }
    setBusy(true);
    request(method, path, { body: given }).then(
      (response) => {
        done(response);
        close();
      },
      (failure: unknown) => {
        setError(asApiError(failure));
        setBusy(false);
      },
    );
  };
  return (
    <Dialog title={title} close={close} wide={children !== undefined}>
      <form
        id={form}
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <p>{explain}</p>
        {children}
        {takesReason && (
          <label>
            <span>
              Reason <span class="faint">(the history keeps it)</span>
            </span>
            <input
              name="reason"
              maxLength={1000}
              autocomplete="off"
              value={reason}
              onInput={(event) => {
                setReason(event.currentTarget.value);
              }}
            />
          </label>
        )}
        {error && <Failure error={error} />}
        <div class="buttons">
          <Copy
            label="Copy as curl"
            text={() => {
              const given = complete();
              return typeof given === "string" ? given : curl(method, path, given);
            }}
          />
          <span class="space" />
          <button type="button" onClick={close}>
            Back
          </button>
          <button type="submit" class={danger ? "danger" : "primary"} disabled={busy}>
            {verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
