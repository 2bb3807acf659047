// Starts a task: fields made from the template's `input_schema`, or the input as JSON.

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { ApiError, asApiError, curl, request } from "../http";
import { isObject, parseInput, pretty } from "../json";
import type { TaskSummary } from "../api-types";
import { go, taskLink } from "../route";
import { type Draft, draftOf, kindOf, partsOf, pointerTo, type Schema, valueOf, type Wrong } from "../schema";
import { Copy, Failure, Text } from "./basic";

type Props = { namespace: string; name: string; version: string; schema: Schema | undefined };

export function StartForm({ namespace, name, version, schema }: Props) {
  const usable = kindOf(schema) === "object";
  const [asJson, setAsJson] = useState(!usable);
  const [draft, setDraft] = useState<Draft>(() => draftOf(schema));
  const [text, setText] = useState("{}");
  const [tags, setTags] = useState("");
  const [priority, setPriority] = useState("");
  const [idempotency, setIdempotency] = useState("");
  const [wrong, setWrong] = useState<Wrong[]>([]);
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);

  /** The request, or what is wrong. */
  const creation = (): Record<string, unknown> | Wrong[] => {
    const found: Wrong[] = [];
    const parsed = parseInput(text);
    let context: unknown;
    if (!asJson) context = valueOf(schema, draft, true, found);
    else if ("error" in parsed) found.push({ pointer: "", message: parsed.error });
    else context = parsed.value;
    if (found.length === 0 && !isObject(context))
      found.push({ pointer: "", message: "The input must be a JSON object." });
    const points = Number(priority);
    if (!Number.isInteger(points)) found.push({ pointer: "priority", message: "The priority must be a whole number." });
    const named = tags
      .split(",")
      .map((tag) => tag.trim())
      .filter(Boolean);
    // `customer=acme` makes an object, `vip` a list.
    const pairs = named.map((tag) => tag.split(/=(.*)/s, 2));
    const allNamed = pairs.every(([, value]) => value !== undefined);
    if (found.length > 0) return found;
    return {
      namespace,
      name,
      version,
      context,
      ...(priority.trim() && { priority: points }),
      ...(idempotency.trim() && { idempotency_key: idempotency.trim() }),
      ...(named.length > 0 && { tags: allNamed ? (Object.fromEntries(pairs) as unknown) : named }),
    };
  };

  const start = (): void => {
    const body = creation();
    setError(undefined);
    if (Array.isArray(body)) {
      setWrong(body);
      return;
    }
    setWrong([]);
    setBusy(true);
    request<TaskSummary>("POST", "/v1/tasks", { body }).then(
      ({ task_uuid }) => {
        go(taskLink(task_uuid));
      },
      (failure: unknown) => {
        const known = asApiError(failure);
        setError(known);
        setWrong(known.fields);
        setBusy(false);
      },
    );
  };

  const switchMode = (): void => {
    if (asJson) {
      const parsed = parseInput(text);
      if ("value" in parsed) setDraft(draftOf(schema, parsed.value));
    } else {
      // An incomplete form still becomes JSON.
      setText(pretty(valueOf(schema, draft, true, []) ?? {}));
    }
    setWrong([]);
    setAsJson(!asJson);
  };
  const general = wrong.filter(({ pointer }) => pointer === "" || pointer === "priority");
  return (
    <form
      class="card start"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        start();
      }}
    >
      {usable && (
        <div class="toolbar">
          <span class="space" />
          <button type="button" class="quiet" onClick={switchMode}>
            {asJson ? "Edit as a form" : "Edit as JSON"}
          </button>
        </div>
      )}
      {asJson ? (
        <label>
          <span>
            Input <span class="faint">(a JSON object)</span>
          </span>
          <textarea
            name="context"
            class="code"
            rows={16}
            spellcheck={false}
            value={text}
            onInput={(event) => {
              setText(event.currentTarget.value);
            }}
          />
        </label>
      ) : (
        <Field schema={schema ?? {}} name="" draft={draft} set={setDraft} required pointer="" wrong={wrong} />
      )}
      <details>
        <summary>Tags, priority, idempotency key</summary>
        <div class="fields">
          <label>
            Tags
            <input
              placeholder="vip, urgent or customer=acme"
              autocomplete="off"
              value={tags}
              onInput={(event) => {
                setTags(event.currentTarget.value);
              }}
            />
          </label>
          <label>
            Priority
            <input
              inputMode="numeric"
              placeholder="0"
              autocomplete="off"
              value={priority}
              onInput={(event) => {
                setPriority(event.currentTarget.value);
              }}
            />
          </label>
          <label>
            Idempotency key
            <input
              autocomplete="off"
              value={idempotency}
              onInput={(event) => {
                setIdempotency(event.currentTarget.value);
              }}
            />
          </label>
        </div>
      </details>
      {general.map(({ message }) => (
        <p key={message} class="notice bad" role="alert">
          {message}
        </p>
      ))}
      {error && <Failure error={error} />}
      <div class="buttons">
        <Copy
          label="Copy as curl"
          text={() => {
            const body = creation();
            return Array.isArray(body)
              ? body.map(({ pointer, message }) => `${pointer} ${message}`).join("\n")
              : curl("POST", "/v1/tasks", body);
          }}
        />
        <span class="space" />
        <button type="submit" class="primary" disabled={busy}>
          Start the task
        </button>
      </div>
    </form>
  );
}

type FieldProps = {
  schema: Schema;
  name: string;
  draft: Draft;
  set: (draft: Draft) => void;
  required: boolean;
  pointer: string;
  wrong: Wrong[];
};

function Field(props: FieldProps) {
  const { schema, name, draft, set, pointer, wrong } = props;
  switch (kindOf(schema)) {
    case "object": {
      const parts = typeof draft === "object" && !Array.isArray(draft) ? draft : {};
      const fields = partsOf(schema).map(([part, inner]) => (
        <Field
          key={part}
          schema={inner}
          name={part}
          draft={parts[part] ?? ""}
          set={(next) => {
            set({ ...parts, [part]: next });
          }}
          required={schema.required?.includes(part) ?? false}
          pointer={pointerTo(pointer, part)}
          wrong={wrong}
        />
      ));
      return name === "" ? <div class="group">{fields}</div> : <Group field={props}>{fields}</Group>;
    }
    case "list": {
      const items = Array.isArray(draft) ? draft : [];
      return (
        <Group field={props}>
          {items.map((item, index) => (
            <div key={index} class="item">
              <Field
                schema={schema.items ?? {}}
                name={`${name} ${index + 1}`}
                draft={item}
                set={(next) => {
                  set(items.map((old, at) => (at === index ? next : old)));
                }}
                required
                pointer={pointerTo(pointer, index)}
                wrong={wrong}
              />
              <button
                type="button"
                class="quiet"
                onClick={() => {
                  set(items.filter((_, at) => at !== index));
                }}
              >
                Remove
              </button>
            </div>
          ))}
          <button
            type="button"
            onClick={() => {
              set([...items, draftOf(schema.items)]);
            }}
          >
            Add
          </button>
        </Group>
      );
    }
    default:
      return <Leaf {...props} />;
  }
}

type GroupProps = { field: FieldProps; children: ComponentChildren };

function Group({ field: { schema, name, required, pointer, wrong }, children }: GroupProps) {
  return (
    <fieldset>
      <legend>
        <Text>{schema.title ?? name}</Text>
        {required && <Required />}
      </legend>
      {schema.description && (
        <p class="faint">
          <Text>{schema.description}</Text>
        </p>
      )}
      <Wrongs id="" messages={messagesAt(wrong, pointer)} />
      {children}
    </fieldset>
  );
}

const Required = () => (
  <span class="required" title="required" aria-label="required">
    *
  </span>
);

const messagesAt = (wrong: Wrong[], pointer: string): string[] =>
  wrong.filter((each) => each.pointer === pointer).map((each) => each.message);

function Wrongs({ id, messages }: { id: string; messages: string[] }) {
  if (messages.length === 0) return null;
  return (
    <span id={id || undefined} class="wrong" role="alert">
      {messages.join(" ")}
    </span>
  );
}

function Leaf({ schema, name, draft, set, required, pointer, wrong }: FieldProps) {
  const id = useId();
  const messages = messagesAt(wrong, pointer);
  const value = typeof draft === "string" ? draft : "";
  const kind = kindOf(schema);
  const common = {
    id,
    name: pointer,
    value,
    required,
    "aria-invalid": messages.length > 0,
    "aria-describedby": messages.length > 0 ? `${id}-wrong` : undefined,
    onInput: (event: { currentTarget: { value: string } }): void => {
      set(event.currentTarget.value);
    },
  };
  const hint = schema.examples?.[0] ?? range(schema);
  const note = [schema.description, schema.pattern && `It must match ${schema.pattern}`].filter(Boolean).join(". ");
  const placeholder = hint === undefined ? undefined : typeof hint === "string" ? hint : pretty(hint);
  return (
    <div class="field">
      <label for={id}>
        <Text>{schema.title ?? name}</Text>
        {required && <Required />}
      </label>
      {kind === "choice" || kind === "yes-no" ? (
        <select {...common}>
          <option value="">{required ? "Choose…" : "–"}</option>
          {kind === "choice"
            ? schema.enum?.map((choice, index) => (
                <option key={index} value={String(index)}>
                  {typeof choice === "string" ? choice : pretty(choice)}
                </option>
              ))
            : ["true", "false"].map((choice) => (
                <option key={choice} value={choice}>
                  {choice}
                </option>
              ))}
        </select>
      ) : kind === "json" ? (
        <textarea {...common} class="code" rows={4} spellcheck={false} placeholder={placeholder ?? "JSON"} />
      ) : (
        <input
          {...common}
          type="text"
          autocomplete="off"
          placeholder={placeholder}
          inputMode={kind === "integer" ? "numeric" : kind === "number" ? "decimal" : "text"}
        />
      )}
      {note && (
        <p class="faint">
          <Text>{note}</Text>
        </p>
      )}
      <Wrongs id={`${id}-wrong`} messages={messages} />
    </div>
  );
}

/** The range of a number, or the format of a text. */
function range({ minimum, maximum, format }: Schema): string | undefined {
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  if (minimum !== undefined) return `at least ${minimum}`;
  if (maximum !== undefined) return `at most ${maximum}`;
  return format;
}
