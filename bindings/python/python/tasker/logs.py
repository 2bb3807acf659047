"""The step that runs, for the log of an application."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

from tasker.steps import Step

__all__ = ["StepFilter", "current_step"]

#: The step whose handler runs in this context.
CURRENT: ContextVar[Step[Any] | None] = ContextVar("tasker_step", default=None)


def current_step() -> Step[Any] | None:
    """Return the step whose handler calls this, or none outside of handlers.

    A thread that a handler starts belongs to the step if it runs in a copy of the handler's context, as
    ``asyncio.to_thread`` does.
    """
    return CURRENT.get()


class StepFilter(logging.Filter):
    """Adds the running step to log records: ``task``, ``step``, ``attempt`` and ``traceparent``.

    Outside of handlers they are none, and ``traceparent`` is none if the task is in no trace. Add it to a handler of
    ``logging``, so that the records of all loggers pass it::

        handler = logging.StreamHandler()
        handler.addFilter(tasker.StepFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s task=%(task)s traceparent=%(traceparent)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields, and let the record pass."""
        step = CURRENT.get()
        record.task = None if step is None else str(step.task_id)
        record.step = None if step is None else step.name
        record.attempt = None if step is None else step.attempt
        record.traceparent = None if step is None else step.traceparent
        return True
