/**
 * The HTTP API: `POST /orders` creates a task, and `GET /orders/:id` shows it. With `?wait=SECONDS`, both wait until the
 * task is at rest.
 */

import { ApiError, type Client, type Task } from "@tasker-systems/tasker";
import { Hono } from "hono";

/** The longest `?wait=`, in seconds. */
const LONGEST_WAIT = 30;

export function createApi(tasker: Client): Hono {
  const api = new Hono();

  api.get("/health", (context) => context.text("ok"));

  api.post("/orders", async (context) => {
    const order = await context.req.json<object>();
    // A client that repeats a request with the same key gets the same order.
    const idempotencyKey = context.req.header("idempotency-key");
    const id = await tasker.create("tasker_starter", "order", order, { idempotencyKey });
    return context.json(orderOf(await atRest(id, context.req.query("wait"))), 201);
  });

  api.get("/orders/:id", async (context) =>
    context.json(orderOf(await atRest(context.req.param("id"), context.req.query("wait")))),
  );

  /** Waits until a task is at rest, or until the time is over. */
  async function atRest(id: string, seconds = "0"): Promise<Task> {
    const wait = Math.min(Number(seconds) || 0, LONGEST_WAIT);
    const signal = AbortSignal.timeout(wait * 1000);
    try {
      return await tasker.wait(id, { signal });
    } catch (error) {
      if (signal.aborted) {
        return tasker.get(id);
      }
      throw error;
    }
  }

  api.onError((error, context) => {
    if (error instanceof SyntaxError) {
      return context.json({ error: `the body is not JSON: ${error.message}` }, 400);
    }
    // The caller's mistake: an unknown order, or one that does not fit the template's `input_schema`.
    if (error instanceof ApiError && (error.status === 404 || error.status === 422)) {
      const { detail, errors } = error.problem;
      return context.json({ error: detail, errors }, error.status);
    }
    console.error("Tasker's server did not do what it was asked:", error);
    return context.json({ error: "try again later" }, 503);
  });

  return api;
}

function orderOf({ id, status, steps }: Task): object {
  const results = steps.map(({ name, status, result }) => [name, { status, result }]);
  return { id, status, steps: Object.fromEntries(results) };
}
