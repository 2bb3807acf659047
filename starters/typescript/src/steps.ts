/** The steps of an order. A handler may run more than once, so what it does elsewhere needs a key that stays the same. */

import { PermanentError, step } from "@tasker-systems/tasker";
import { z } from "zod";

/** Stands in for the catalogue: items and their prices in cents. */
const CATALOGUE = new Map([
  ["tea", 450],
  ["mug", 1_200],
]);

/** The input of the task. */
const Order = z.object({ item: z.string(), quantity: z.int() });

/** The result of `check_stock`. */
const Checked = z.object({ total_cents: z.int() });

export const checkStock = step("tasker_starter.check_stock", { input: Order }, ({ input: { item, quantity } }) => {
  const price = CATALOGUE.get(item);
  if (price === undefined) {
    // Another attempt would not help. Every other error is retried as the template says.
    throw new PermanentError(`there is no item \`${item}\``, { kind: "unknown_item" });
  }
  return { total_cents: price * quantity };
});

export const charge = step("tasker_starter.charge", { results: { check_stock: Checked } }, ({ results, key }) => {
  // Call your payment provider here, with this key: a repeated attempt must not charge twice.
  return { payment_id: key, amount_cents: results.check_stock.total_cents };
});

export const ship = step("tasker_starter.ship", ({ key }) => ({ tracking_number: key }));

/** All steps of `templates/order.yaml`. */
export const steps = [checkStock, charge, ship];
