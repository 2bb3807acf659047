"""Run handlers in tests, without a server or a database."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tasker import _native
from tasker._json import encode_error, encode_result
from tasker.errors import PermanentError, RetryableError, Wait
from tasker.logs import CURRENT
from tasker.steps import CALLABLE, Handler, Step

__all__ = ["run", "run_async"]


def run(function: Callable[..., Any], **step: Any) -> Any:
    """Run a handler as a worker would, and return its result after its way through JSON.

    The arguments are those of :func:`run_async`. Call it where no event loop runs.
    """
    return asyncio.run(run_async(function, **step))


async def run_async(
    function: Callable[..., Any],
    *,
    input: Any = None,  # noqa: A002 - the name of the field that it sets
    results: Mapping[str, Any] | None = None,
    initialization: Mapping[str, Any] | None = None,
    item: Any = None,
    signal: Any = None,
    checkpoint: Any = None,
    attempt: int = 1,
    max_attempts: int = 3,
    timeout: float = 300.0,
    task_id: uuid.UUID | None = None,
    name: str = "step",
    traceparent: str | None = None,
) -> Any:
    """Run a handler as a worker would, and return its result after its way through JSON.

    ``input``: the task's input, ``{}`` if none. ``results``: the results of the dependencies by name. Both may hold
    everything that a handler may return. Raises :class:`PermanentError` or :class:`RetryableError`, like those that the
    step would fail with; ``__cause__`` is the exception of the handler. A handler that waits raises :class:`Wait`.
    """
    handler = Handler(function)
    task_id = task_id or uuid.uuid4()
    step = Step[Any](
        {
            "task_id": str(task_id),
            "step": name,
            "namespace": "testing",
            "template": "testing",
            "template_version": "1.0.0",
            "callable": getattr(function, CALLABLE, getattr(function, "__name__", "handler")),
            "key": f"{task_id}/{name}",
            "attempt": attempt,
            "max_attempts": max_attempts,
            "timeout_ms": round(timeout * 1000),
            "input": _checked(encode_result({} if input is None else input)),
            "results": _checked(encode_result(dict(results or {}))),
            "initialization": _checked(encode_result(dict(initialization or {}))),
            "item": _checked(encode_result(item)),
            "signal": _checked(encode_result(signal)),
            "checkpoint": _checked(encode_result(checkpoint)),
            "traceparent": traceparent,
        }
    )
    cause: Exception | None = None
    outside = CURRENT.set(step)
    try:
        step._decode_input(handler.input_type)
        if handler.is_async:
            result = await handler.function(step)
        else:
            result = await asyncio.to_thread(handler.function, step)
        outcome = encode_result(result)
    except Wait as wait:
        # It raises if the checkpoint cannot be stored.
        _checked(encode_error(wait), wait)
        raise
    except Exception as error:
        cause, outcome = error, encode_error(error)
    finally:
        CURRENT.reset(outside)
    return _checked(outcome, cause)


def _checked(outcome: str, cause: Exception | None = None) -> Any:
    """Return the result that the runtime would store, or raise the error that the step would fail with."""
    result, error = _native.check_outcome(outcome)
    if error is not None:
        kind, message, permanent, delay = error
        if isinstance(cause, Wait) and kind == "waiting":
            return None
        if permanent:
            raise PermanentError(message, kind=kind) from cause
        raise RetryableError(message, kind=kind, retry_after=None if delay is None else delay / 1000) from cause
    return json.loads(result or "null")
