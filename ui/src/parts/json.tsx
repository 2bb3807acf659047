// A JSON value of any size. A long one is cut off until the user asks for the rest.

import { useMemo, useState } from "preact/hooks";
import { bytes } from "../format";
import { pretty } from "../json";
import { Copy } from "./basic";

const SHOWN = 8_000;

export function Json({ value, label }: { value: unknown; label: string }) {
  const [all, setAll] = useState(false);
  const text = useMemo(() => pretty(value), [value]);
  const long = text.length > SHOWN;
  return (
    <div class="json">
      {/* A long value scrolls, so the keyboard must reach it. */}
      <pre tabIndex={0} role="region" aria-label={label}>
        <bdi>{all || !long ? text : `${text.slice(0, SHOWN)}…`}</bdi>
      </pre>
      <div class="row">
        <Copy text={text} />
        {long && (
          <button
            type="button"
            class="quiet"
            onClick={() => {
              setAll(!all);
            }}
          >
            {all ? "Show less" : `Show all ${bytes(new Blob([text]).size)}`}
          </button>
        )}
      </div>
    </div>
  );
}
