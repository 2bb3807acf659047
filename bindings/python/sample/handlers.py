"""The handlers of the sample workflows: arithmetic, orders, faults."""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict, dataclass
from typing import Any

import flows
import tasker
from tasker import PermanentError, RetryableError, Step

#: The largest integer that every JSON parser reads exactly.
MAX_EXACT = 2**53
MAX_U64 = 2**64 - 1

ARITHMETIC = [
    *(f"linear_workflow.linear_step_{number}" for number in range(1, 5)),
    *(f"diamond_workflow.diamond_{part}" for part in ("start", "branch_b", "branch_c", "end")),
    *(f"tree_workflow.tree_{part}" for part in ("root", "branch_left", "branch_right", "final_convergence")),
    *(f"tree_workflow.tree_leaf_{leaf}" for leaf in "defg"),
    *(
        f"mixed_dag_workflow.dag_{part}"
        for part in ("init", "process_left", "process_right", "validate", "transform", "analyze", "finalize")
    ),
]


async def square(step: Step[Any]) -> dict[str, Any]:
    """Square the product of the dependencies' values, or the task's ``even_number`` if there are none."""
    if step.results:
        factors = [_number(result.get("value"), name) for name, result in step.results.items()]
    else:
        factors = [_number(step.input.get("even_number"), "even_number")]
    value = math.prod(factors) ** 2
    return {"value": value if value <= MAX_EXACT else str(value)}


def _number(value: Any, name: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_U64:
        return value
    raise PermanentError(
        f"{name} must be an integer from 0 to 2^64 - 1, or a string of decimal digits, but is {value!r}",
        kind="bad_input",
    )


@dataclass
class Item:
    """A line of an order."""

    sku: str
    quantity: int
    unit_price_cents: int


@dataclass
class Payment:
    """How the customer pays."""

    method: str
    token: str | None = None


@dataclass
class Order:
    """The input of the task."""

    customer: Any
    items: list[Item]
    payment: Payment
    shipping: Any


@dataclass
class Checked:
    """An order whose items were checked."""

    items: list[Item]
    item_count: int
    total_cents: int


@dataclass
class Reservation:
    """An item that is reserved."""

    reservation_id: str
    sku: str
    quantity: int


@dataclass
class Reserved(Checked):
    """An order whose items are reserved."""

    reservations: list[Reservation]


@dataclass
class Paid(Reserved):
    """An order that is paid."""

    payment_id: str


@tasker.step("order_fulfillment.validate_order")
async def validate_order(step: Step[Order]) -> Checked:
    """Check an order and add up its total."""
    items = step.input.items
    if not items:
        raise PermanentError("the order has no items", kind="invalid_order")
    seen = set()
    for item in items:
        if item.quantity == 0:
            raise PermanentError(f"the quantity of item {item.sku} is 0", kind="invalid_order")
        if item.sku in seen:
            raise PermanentError(f"item {item.sku} is in the order twice", kind="invalid_order")
        seen.add(item.sku)
    count = sum(item.quantity for item in items)
    total = sum(item.quantity * item.unit_price_cents for item in items)
    if max(count, total) > MAX_U64:
        raise PermanentError("the order's total is beyond 2^64 cents", kind="invalid_order")
    return Checked(items, count, total)


@tasker.step("order_fulfillment.reserve_inventory")
async def reserve_inventory(step: Step[Order]) -> Reserved:
    """Reserve every item in the warehouse."""
    order = step.result("validate_order", Checked)
    reservations = [Reservation(f"{_id(step, 'res')}_{item.sku}", item.sku, item.quantity) for item in order.items]
    return Reserved(order.items, order.item_count, order.total_cents, reservations)


@tasker.step("order_fulfillment.process_payment")
def process_payment(step: Step[Order]) -> Paid:
    """Charge the total to the customer."""
    order = step.result("reserve_inventory", Reserved)
    payment = step.input.payment
    if payment.method == "declined_card" or payment.token == "tok_declined":  # noqa: S105
        message = f"the bank declined to pay {order.total_cents} cents by {payment.method}"
        raise PermanentError(message, kind="payment_declined")
    return Paid(order.items, order.item_count, order.total_cents, order.reservations, _id(step, "pay"))


@tasker.step("order_fulfillment.ship_order")
def ship_order(step: Step[Order]) -> dict[str, Any]:
    """Hand the items to the carrier."""
    return {
        **asdict(step.result("process_payment", Paid)),
        "tracking_number": _id(step, "trk"),
        "customer": step.input.customer,
        "shipping": step.input.shipping,
    }


def _id(step: Step[Any], kind: str) -> str:
    """Return an id that is the same in every attempt."""
    return f"{kind}_{step.task_id.hex}"


@tasker.step("benchmark.noop")
async def noop(step: Step[Any]) -> None:
    """Do nothing."""


@tasker.step("faults.fail_times")
async def fail_times(step: Step[Any]) -> dict[str, Any]:
    """Fail in the first attempts."""
    failures = step.initialization["failures"]
    if step.attempt <= failures:
        raise RetryableError(f"attempt {step.attempt} fails, as configured for the first {failures} attempts")
    return {"attempts": step.attempt}


@tasker.step("faults.permanent")
async def permanent(step: Step[Any]) -> None:
    """Fail permanently."""
    raise PermanentError("this step fails permanently, as configured")


@tasker.step("faults.sleep")
async def sleep(step: Step[Any]) -> dict[str, Any]:
    """Sleep until the attempt is cancelled."""
    milliseconds = step.initialization.get("ms", step.input.get("ms", 0))
    await asyncio.sleep(milliseconds / 1000)
    return {"slept_ms": milliseconds}


@tasker.step("faults.panic")
def panic(step: Step[Any]) -> None:
    """Fail as a handler in Rust does that panics."""
    raise RetryableError("this handler panics, as configured", kind="panic")


@tasker.step("faults.echo")
async def echo(step: Step[Any]) -> Any:
    """Return the task's context."""
    return step.input


STEPS = [
    validate_order,
    reserve_inventory,
    process_payment,
    ship_order,
    noop,
    fail_times,
    permanent,
    sleep,
    panic,
    echo,
    *flows.STEPS,
]
