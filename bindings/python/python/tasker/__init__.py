"""Workers and clients for Tasker, durable workflows on PostgreSQL.

A worker runs the steps of tasks with your functions::

    import tasker

    worker = tasker.Worker(templates="templates")

    @worker.step("hello.greet")
    async def greet(step: tasker.Step[dict[str, str]]) -> str:
        return f"Hello, {step.input['name']}"

    worker.run()

``tasker.testing`` runs a handler without a server. ``tasker.Client`` creates tasks and waits for them.
"""

from tasker import _native
from tasker.client import ApiError, Client, Task, TaskStep
from tasker.errors import PermanentError, RetryableError, StartError, TaskerError, UnhealthyError, Wait
from tasker.logs import StepFilter, current_step
from tasker.steps import Step, step
from tasker.worker import Worker

__version__ = _native.VERSION

__all__ = [
    "ApiError",
    "Client",
    "PermanentError",
    "RetryableError",
    "StartError",
    "Step",
    "StepFilter",
    "Task",
    "TaskStep",
    "TaskerError",
    "UnhealthyError",
    "Wait",
    "Worker",
    "__version__",
    "current_step",
    "step",
]
