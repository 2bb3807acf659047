"""Handlers without a server: the helper for tests, and the decorators of tasker-core."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from tasker import PermanentError, RetryableError, Step, Wait, testing
from tasker.compat import depends_on, inputs, step_handler


@dataclass
class Order:
    number: int


async def double(step: Step[Order]) -> Order:
    return Order(step.input.number * 2)


def test_a_handler_runs_without_a_server() -> None:
    assert testing.run(double, input=Order(4)) == {"number": 8}
    assert asyncio.run(testing.run_async(double, input={"number": 4})) == {"number": 8}

    def everything(step: Step[Any]) -> list[Any]:
        return [step.attempt, step.max_attempts, step.name, step.key, step.initialization, step.result("a", Order)]

    task_id = uuid.uuid4()
    result = testing.run(
        everything,
        results={"a": Order(1)},
        initialization={"b": 2},
        attempt=2,
        max_attempts=5,
        name="pay",
        task_id=task_id,
    )
    assert result == [2, 5, "pay", f"{task_id}/pay", {"b": 2}, {"number": 1}]


def test_a_handler_that_waits_raises_its_wait() -> None:
    def approve(step: Step[Any]) -> Any:
        if step.signal is None:
            raise Wait(2.5, signal="approved", checkpoint=[1])
        return [step.signal, step.checkpoint, step.item]

    with pytest.raises(Wait) as caught:
        testing.run(approve)
    assert (caught.value.delay, caught.value.signal, caught.value.checkpoint) == (2.5, "approved", [1])
    assert testing.run(approve, signal={"by": "ada"}, checkpoint=[1], item=7) == [{"by": "ada"}, [1], 7]
    with pytest.raises(ValueError, match="delay must be"):
        Wait(-1)


def test_a_handler_fails_as_in_production() -> None:
    with pytest.raises(PermanentError, match="Expected `int`, got `str`") as caught:
        testing.run(double, input={"number": "four"})
    assert caught.value.kind == "bad_input"

    def not_a_number(step: Step[Any]) -> float:
        return float("nan")

    with pytest.raises(PermanentError) as caught:
        testing.run(not_a_number)
    assert caught.value.kind == "bad_result"

    def fails(step: Step[Any]) -> None:
        raise LookupError("nobody knows")

    with pytest.raises(RetryableError, match="nobody knows") as failed:
        testing.run(fails)
    assert (failed.value.kind, type(failed.value.__cause__)) == ("LookupError", LookupError)

    def later(step: Step[Any]) -> None:
        raise RetryableError("later", retry_after=1.5)

    with pytest.raises(RetryableError) as failed:
        testing.run(later)
    assert failed.value.retry_after == 1.5
    with pytest.raises(ValueError, match="retry_after"):
        RetryableError("never", retry_after=-1)


def test_a_handler_takes_one_argument() -> None:
    with pytest.raises(TypeError, match="must take one argument"):
        testing.run(lambda: None)


def test_handlers_of_tasker_core_run_unchanged() -> None:
    @step_handler("pay")
    @depends_on(cart=("validate_cart", Order), note="note")
    @inputs(Order)
    def pay(cart: Order, note: str | None, inputs: Order, context: Step[Any]) -> dict[str, Any]:
        return {"sum": cart.number + inputs.number, "note": note, "attempt": context.attempt}

    result = testing.run(pay, input={"number": 1}, results={"validate_cart": {"number": 2}})
    assert result == {"sum": 3, "note": None, "attempt": 1}

    @step_handler("ship")
    @inputs("number", "missing")
    async def ship(number: int, missing: Any, context: Step[Any]) -> list[Any]:
        return [number, missing]

    assert testing.run(ship, input={"number": 1}) == [1, None]
