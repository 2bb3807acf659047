// The keyboard. Rows are links with `data-row`, so Enter needs no code.

import { Dialog } from "./parts/dialog";

const KEYS: [string, string][] = [
  ["/", "Search"],
  ["j", "Next row"],
  ["k", "Previous row"],
  ["Enter", "Open the row"],
  ["x", "Select the row, where rows can be selected"],
  ["Esc", "Close a dialog or the panel of a step"],
  ["?", "This list"],
];

/** Listens to the keys until the returned function is called. */
export function installKeys(help: () => void): () => void {
  const onKey = (event: KeyboardEvent): void => {
    const target = event.target instanceof Element ? event.target : document.body;
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      target.closest("input:not([type=checkbox]), textarea, select, dialog")
    )
      return;
    switch (event.key) {
      case "/":
        document.querySelector<HTMLInputElement>("input[type=search]")?.focus();
        break;
      case "j":
        move(1);
        break;
      case "k":
        move(-1);
        break;
      case "x":
        target.closest("tr")?.querySelector<HTMLInputElement>("input[type=checkbox]")?.click();
        break;
      case "Escape":
        document.querySelector<HTMLElement>("[data-escape]")?.click();
        return;
      case "?":
        help();
        break;
      default:
        return;
    }
    event.preventDefault();
  };
  document.addEventListener("keydown", onKey);
  return () => {
    document.removeEventListener("keydown", onKey);
  };
}

/** Moves the focus by rows. It stays on the first and on the last one. */
function move(by: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>("main [data-row]")];
  const row = document.activeElement?.closest("tr, li")?.querySelector("[data-row]");
  const current = rows.findIndex((each) => each === row);
  const next = rows[Math.max(0, Math.min(rows.length - 1, current === -1 ? 0 : current + by))];
  next?.focus();
  next?.closest("tr, li")?.scrollIntoView({ block: "nearest" });
}

export function KeysDialog({ close }: { close: () => void }) {
  return (
    <Dialog title="Keys" close={close}>
      <dl class="keys">
        {KEYS.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <div class="buttons">
        <span class="space" />
        <button type="button" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
