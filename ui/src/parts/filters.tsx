// The filter of the list of tasks. Each change goes to the address.

import { useId } from "preact/hooks";
import { stateName } from "../format";
import { STATES } from "../pages/dashboard";
import type { Filter } from "../pages/tasks";
import { zone } from "../preferences";
import { go, link, linkHere, type Query } from "../route";
import { Text } from "./basic";
import { Sign } from "./state";

/** Goes to the first page of the list with other filters. */
function change(changes: Query): void {
  go(linkHere({ ...changes, cursor: undefined }));
}

export function Filters({ filter, namespaces }: { filter: Filter; namespaces: string[] }) {
  const states = filter.status?.split(",") ?? [];
  return (
    <form
      class="filters"
      aria-label="Filter"
      onSubmit={(event) => {
        event.preventDefault();
      }}
    >
      <fieldset class="chips">
        <legend>State</legend>
        {STATES.map((state) => (
          <label key={state} class={states.includes(state) ? "on" : ""}>
            <input
              type="checkbox"
              checked={states.includes(state)}
              onChange={() => {
                const next = states.includes(state) ? states.filter((each) => each !== state) : [...states, state];
                change({ status: next.join(",") });
              }}
            />
            <Sign state={state} />
            {stateName(state)}
          </label>
        ))}
      </fieldset>
      <div class="fields">
        <label>
          Namespace
          <select
            value={filter.namespace ?? ""}
            onChange={(event) => {
              change({ namespace: event.currentTarget.value });
            }}
          >
            <option value="">All</option>
            {[...new Set([...namespaces, ...(filter.namespace ? [filter.namespace] : [])])].map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <Field label="Template" name="template" filter={filter} hint="name" />
        <Field label="Version" name="version" filter={filter} hint="1.0.0" />
        <Field label="Tag or value" name="tag" filter={filter} hint="vip, customer=acme" />
        <Moment label="Created after" name="created_after" filter={filter} />
        <Moment label="Created before" name="created_before" filter={filter} />
        {filter.q && (
          <p class="searched">
            Search:{" "}
            <b>
              <Text>{filter.q}</Text>
            </b>
          </p>
        )}
        {Object.keys(filter).length > 0 && (
          <a class="button quiet" href={link(["tasks"])}>
            Clear
          </a>
        )}
      </div>
    </form>
  );
}

type FieldProps = { label: string; name: keyof Filter; filter: Filter };

function Field({ label, name, filter, hint }: FieldProps & { hint: string }) {
  const id = useId();
  return (
    <label for={id}>
      {label}
      <input
        id={id}
        name={name}
        placeholder={hint}
        autocomplete="off"
        spellcheck={false}
        value={filter[name] ?? ""}
        onChange={(event) => {
          change({ [name]: event.currentTarget.value.trim() });
        }}
      />
    </label>
  );
}

/** A moment, in the zone that the user has chosen. */
function Moment({ label, name, filter }: FieldProps) {
  const given = filter[name];
  const date = given && !Number.isNaN(Date.parse(given)) ? new Date(given) : undefined;
  const utc = zone.value === "utc";
  const shifted = date && !utc ? new Date(date.getTime() - date.getTimezoneOffset() * 60_000) : date;
  return (
    <label>
      {label}
      <input
        type="datetime-local"
        name={name}
        value={shifted ? shifted.toISOString().slice(0, 16) : ""}
        onChange={(event) => {
          const text = event.currentTarget.value;
          change({ [name]: text === "" ? "" : new Date(utc ? `${text}Z` : text).toISOString() });
        }}
      />
    </label>
  );
}
