"""The handlers of the sample workflows with waits, batches, a decision, a child task and gates."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import tasker
from tasker import PermanentError, Step


@dataclass
class Expense:
    """The input of an approval."""

    employee: str
    amount_cents: int


@tasker.step("expenses.decide")
async def decide(step: Step[Expense]) -> dict[str, Any]:
    """Read the signal for which the step waited. Without one in time, the expense is not approved."""
    if step.signal is None:
        return {"approved": False, "by": None}
    if not isinstance(step.signal, dict) or not isinstance(step.signal.get("approved"), bool):
        raise PermanentError("the signal `decision` must have a boolean `approved`", kind="bad_signal")
    return {"approved": step.signal["approved"], "by": step.signal.get("by")}


@tasker.step("expenses.reimburse")
async def reimburse(step: Step[Expense]) -> dict[str, Any]:
    """Pay the expense. The id is the same in every attempt, so that the bank pays once."""
    return {"payment_id": f"pay_{step.task_id.hex}", "amount_cents": step.input.amount_cents}


@tasker.step("expenses.notify")
async def notify(step: Step[Expense]) -> dict[str, Any]:
    """Tell the employee. The results do not contain a step that was skipped."""
    by = step.results["decide"]["by"]
    if "reimburse" in step.results:
        message = f"{step.input.amount_cents} cents were paid"
    elif by:
        message = f"{by} did not approve the expense"
    else:
        message = "nobody decided in time"
    return {"to": step.input.employee, "message": message}


@tasker.step("data_import.split")
async def split(step: Step[Any]) -> dict[str, Any]:
    """Divide the records into batches."""
    total = len(step.input["records"])
    if total == 0:
        return {"batch_processing_outcome": {"type": "no_batches"}}
    size = step.input.get("batch_size", step.initialization["batch_size"])
    cursors = [
        {
            "batch_id": f"{number:03}",
            "start_cursor": start,
            "end_cursor": min(start + size, total),
            "batch_size": size,
        }
        for number, start in enumerate(range(0, total, size), start=1)
    ]
    return {
        "batch_processing_outcome": {
            "type": "create_batches",
            "worker_template_name": step.initialization["worker_template_name"],
            "worker_count": len(cursors),
            "cursor_configs": cursors,
            "total_items": total,
        }
    }


@tasker.step("data_import.import_batch")
async def import_batch(step: Step[Any]) -> dict[str, Any]:
    """Import the records of one batch. A bad record fails it for good, because every attempt would find it."""
    if step.initialization["is_no_op"]:
        return {"imported": 0}
    cursor = step.initialization["cursor"]
    records = step.input["records"][cursor["start_cursor"] : cursor["end_cursor"]]
    for record in records:
        if "@" not in (record.get("email") or ""):
            raise PermanentError(f"record {record['id']} has no email address", kind="bad_record")
    return {"imported": len(records)}


@tasker.step("data_import.report")
async def report(step: Step[Any]) -> dict[str, Any]:
    """Add up the batches. A batch that failed has an ``error`` in the place of its result."""
    imported = sum(result.get("imported", 0) for result in step.results.values())
    failed = [
        {"batch": batch, "reason": result["error"]["message"]}
        for batch, result in step.results.items()
        if "error" in result
    ]
    return {"imported": imported, "failed": failed}


@tasker.step("order_routing.route")
async def route(step: Step[Any]) -> dict[str, Any]:
    """Choose the branches. The other ones are skipped."""
    small = step.input["total_cents"] < step.initialization["review_from_cents"]
    branches = ["approve_by_rule"] if small else ["review", "check_credit"]
    return {"decision_point_outcome": {"type": "create_steps", "step_names": branches}}


@tasker.step("order_routing.approve_by_rule")
async def approve_by_rule(step: Step[Any]) -> dict[str, Any]:
    """Approve a small order."""
    return {"approved_by": "rule"}


@tasker.step("order_routing.review")
async def review(step: Step[Any]) -> dict[str, Any]:
    """Review a large order."""
    return {"approved_by": "reviewer"}


@tasker.step("order_routing.check_credit")
async def check_credit(step: Step[Any]) -> dict[str, Any]:
    """Check the credit of the customer."""
    return {"credit_cents": step.input["total_cents"]}


@tasker.step("order_routing.dispatch")
async def dispatch(step: Step[Any]) -> dict[str, Any]:
    """Receive the results of the branches that ran."""
    return {"dispatched_after": sorted(step.results)}


@tasker.step("billing.close_month")
async def close_month(step: Step[Any]) -> dict[str, Any]:
    """Close the month."""
    return {"closed": step.input["month"]}


@tasker.step("billing.confirm")
async def confirm(step: Step[Any]) -> dict[str, Any]:
    """Read the results of the child task's last steps."""
    return {"invoice_id": step.results["invoice"]["results"]["send"]["invoice_id"]}


@tasker.step("billing.issue")
async def issue(step: Step[Any]) -> dict[str, Any]:
    """Issue the invoice."""
    return {"invoice_id": f"inv_{step.input['id']}", "total_cents": step.input["usage_cents"]}


@tasker.step("billing.send")
async def send(step: Step[Any]) -> dict[str, Any]:
    """Send the invoice."""
    return {"invoice_id": step.results["issue"]["invoice_id"], "sent": True}


@tasker.step("payments.charge")
async def charge(step: Step[Any]) -> dict[str, Any]:
    """Charge the account. A real handler calls the bank, with the step's key as idempotency key."""
    await asyncio.sleep(step.initialization["bank_ms"] / 1000)
    return {"charge_id": f"chg_{step.task_id.hex}", "amount_cents": step.input["amount_cents"]}


@tasker.step("payments.receipt")
async def receipt(step: Step[Any]) -> dict[str, Any]:
    """Write the receipt."""
    return {"account_id": step.input["account_id"], **step.results["charge"]}


STEPS = [
    decide,
    reimburse,
    notify,
    split,
    import_batch,
    report,
    route,
    approve_by_rule,
    review,
    check_credit,
    dispatch,
    close_month,
    confirm,
    issue,
    send,
    charge,
    receipt,
]
