"""Handlers without a server: the helper for tests, and the decorators of tasker-core."""

from __future__ import annotations

import asyncio
import functools
import sys
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from tasker import PermanentError, RetryableError, Step, Wait, compat, testing
from tasker.compat import ErrorType, StepContext, StepHandler, StepHandlerResult, depends_on, inputs, step_handler


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
    wrong: list[Any] = [lambda: None, lambda step, other: None, lambda *, step: None]
    for handler in wrong:
        with pytest.raises(TypeError, match="must take one argument"):
            testing.run(handler)
    with pytest.raises(TypeError, match="is a class"):
        testing.run(Order)


class NoTextError(LookupError):
    def __str__(self) -> str:
        raise RuntimeError("it cannot be shown")


class WithoutFieldsError(PermanentError):
    def __init__(self) -> None:
        """Forget the base class."""


def test_every_exception_is_an_outcome() -> None:
    def raises(error: Exception) -> tuple[type[Exception], str, str]:
        def fails(step: Step[Any]) -> None:
            raise error

        with pytest.raises((PermanentError, RetryableError)) as caught:
            testing.run(fails)
        return type(caught.value), caught.value.kind, caught.value.message

    assert raises(NoTextError()) == (RetryableError, "NoTextError", "NoTextError, which cannot be read: RuntimeError")
    assert raises(WithoutFieldsError()) == (
        PermanentError,
        "WithoutFieldsError",
        "WithoutFieldsError, which cannot be read: AttributeError",
    )
    wrapped: Any = LookupError("nobody knows")
    assert raises(PermanentError(wrapped)) == (PermanentError, "error", "nobody knows")
    number: Any = 404
    assert raises(RetryableError("gone", kind=number)) == (RetryableError, "404", "gone")
    assert raises(LookupError()) == (RetryableError, "LookupError", "LookupError()")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no task groups")
def test_the_only_exception_of_a_task_group_counts() -> None:
    async def fails(step: Step[Any]) -> None:
        async def declined() -> None:
            raise PermanentError("no", kind="declined")

        async with asyncio.TaskGroup() as group:
            group.create_task(declined())

    with pytest.raises(PermanentError) as caught:
        testing.run(fails)
    assert caught.value.kind == "declined"


def test_a_wait_is_checked_as_in_production() -> None:
    def waits(wait: Wait) -> str:
        def handler(step: Step[Any]) -> None:
            raise wait

        with pytest.raises(PermanentError) as caught:
            testing.run(handler)
        return caught.value.kind

    assert waits(Wait(checkpoint=object())) == "bad_checkpoint"
    assert waits(Wait(checkpoint="\0")) == "bad_checkpoint"
    assert waits(Wait(signal="")) == "bad_wait"
    assert waits(Wait(signal="x" * 129)) == "bad_wait"


def test_every_kind_of_function_is_a_handler() -> None:
    async def add(extra: int, step: Step[Order]) -> int:
        return step.input.number + extra

    class Adder:
        async def __call__(self, step: Step[Order]) -> int:
            return step.input.number + 1

        def method(self, step: Step[Order]) -> int:
            return step.input.number + 1

    def forward(step: Step["Order"]) -> int:  # noqa: UP037 - an annotation may contain text
        return step.input.number + 1

    @functools.wraps(double)
    async def decorated(*arguments: Any) -> int:
        return (await double(*arguments)).number

    def lists(step: Step[list[int]]) -> int:
        return sum(step.input) + 1

    for handler in [functools.partial(add, 1), Adder(), Adder().method, forward]:
        assert testing.run(handler, input=Order(4)) == 5, handler
    assert testing.run(decorated, input=Order(4)) == 8
    assert testing.run(lists, input=[4]) == 5


def test_only_the_type_of_the_step_must_be_known() -> None:
    def result_unknown(step: Step[Order]) -> Unknown:  # type: ignore[name-defined]  # noqa: F821
        return step.input.number

    assert testing.run(result_unknown, input=Order(4)) == 4

    def input_unknown(step: Step[Unknown]) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    with pytest.raises(TypeError, match=r"argument step .* name 'Unknown' is not defined; define or import it"):
        testing.run(input_unknown)


def test_a_coroutine_as_a_result_is_explained() -> None:
    @functools.wraps(double)
    def undecided(step: Step[Any]) -> Any:
        return double(step)

    with pytest.raises(PermanentError, match="the handler must be `async` itself"):
        testing.run(undecided, input=Order(4))


def test_handlers_of_tasker_core_run_unchanged() -> None:
    @step_handler("pay")
    @depends_on(cart=("validate_cart", Order), note="note")
    @inputs(Order)
    def pay(cart: Order, note: str | None, inputs: Order, context: StepContext) -> dict[str, Any]:
        return {"sum": cart.number + inputs.number, "note": note, "attempt": context.attempt}

    result = testing.run(pay, input={"number": 1}, results={"validate_cart": {"number": 2}})
    assert result == {"sum": 3, "note": None, "attempt": 1}

    @step_handler("ship")
    @inputs("number", "missing")
    async def ship(number: int, missing: Any, context: StepContext) -> list[Any]:
        return [number, missing]

    assert testing.run(ship, input={"number": 1}) == [1, None]

    class ProcessPayment(StepHandler):
        handler_name = "process_payment"
        handler_version = "1.0.0"

        def call(self, context: StepContext) -> StepHandlerResult:
            token = context.get_input("token")
            if token == "declined":  # noqa: S105
                return StepHandlerResult.failure(
                    message="declined", error_type=ErrorType.PERMANENT_ERROR, retryable=False, error_code="DECLINED"
                )
            if token is None:
                raise compat.RetryableError(message="no token yet", retry_after=15, context={"token": token})
            total = context.get_dependency_field("validate_cart", "total", "cents")
            return self.success({"total": total, "retries": context.retry_count}, metadata={"gateway": "test"})

    payment = compat.to_handler(ProcessPayment)
    cart = {"validate_cart": {"total": {"cents": 5}}}
    assert testing.run(payment, input={"token": "ok"}, results=cart, attempt=2) == {"total": 5, "retries": 1}
    with pytest.raises(PermanentError, match="declined") as declined:
        testing.run(payment, input={"token": "declined"})
    assert declined.value.kind == "DECLINED"
    with pytest.raises(RetryableError, match="no token yet") as later:
        testing.run(payment)
    assert (later.value.kind, later.value.retry_after) == ("retryable_error", 15)

    @step_handler("refuse", version="1.0.0")
    @inputs("number")
    async def refuse(number: int) -> StepHandlerResult:
        if number > 1:
            raise compat.PermanentError(message="too many", error_code="TOO_MANY")
        return StepHandlerResult.success({"number": number})

    assert testing.run(refuse, input={"number": 1}) == {"number": 1}
    with pytest.raises(PermanentError) as refused:
        testing.run(refuse, input={"number": 2})
    assert refused.value.kind == "TOO_MANY"
