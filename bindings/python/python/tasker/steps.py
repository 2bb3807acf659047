"""Steps as handlers see them, and handlers as workers see them."""

from __future__ import annotations

import functools
import inspect
import threading
import time
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, overload
from uuid import UUID

from tasker._json import decode
from tasker.errors import PermanentError

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

#: The attribute of a function that holds its callable name.
CALLABLE = "__tasker_callable__"


def step(callable_name: str) -> Callable[[FunctionT], FunctionT]:
    """Name a function as the handler of a callable, for ``Worker(steps=[...])``.

    Use it in modules that do not know the worker. ``Worker.step`` does the same and registers the function.
    """

    def named(function: FunctionT) -> FunctionT:
        setattr(function, CALLABLE, callable_name)
        return function

    return named


class Step(Generic[InputT]):
    """One attempt of a step, as its handler sees it.

    ``Step[Order]`` as the type of a handler's argument makes ``input`` an ``Order``: a dataclass, a ``TypedDict``, a
    pydantic model, or any other type that msgspec supports. An input that does not fit fails the step with a permanent
    error of kind ``bad_input``.
    """

    #: The task's input.
    input: InputT
    #: The task's id.
    task_id: UUID
    #: The step's name, unique in its task.
    name: str
    #: The task's namespace.
    namespace: str
    #: The name of the task's template.
    template: str
    #: The version of the task's template.
    template_version: str
    #: The name of the handler in the template.
    callable: str
    #: The step's idempotency key, the same in every attempt. Send it to systems that must carry out a request once.
    key: str
    #: The number of this attempt, from 1.
    attempt: int
    #: The largest number of attempts.
    max_attempts: int
    #: When the attempt must end, on the clock of ``time.monotonic()``.
    deadline: float
    #: The results of the steps that this one depends on, by name, as JSON values.
    results: dict[str, Any]
    #: The template's settings for the handler (``handler.initialization``).
    initialization: dict[str, Any]
    #: The element for which this child of a step with ``map`` runs.
    item: Any
    #: The payload of the signal for which the step waited. None if it did not arrive in time.
    signal: Any
    #: The value that an earlier attempt stored with :class:`tasker.Wait`.
    checkpoint: Any
    #: The place of the attempt in a trace (W3C Trace Context). None if the task is in no trace.
    traceparent: str | None

    def __init__(self, fields: dict[str, Any]) -> None:
        """Take the fields of a step from the runtime."""
        self.task_id = UUID(fields["task_id"])
        self.name = fields["step"]
        self.namespace = fields["namespace"]
        self.template = fields["template"]
        self.template_version = fields["template_version"]
        self.callable = fields["callable"]
        self.key = fields["key"]
        self.attempt = fields["attempt"]
        self.max_attempts = fields["max_attempts"]
        self.deadline = time.monotonic() + fields["timeout_ms"] / 1000
        self.input = fields["input"]
        self.results = fields["results"]
        self.initialization = fields["initialization"]
        self.item = fields.get("item")
        self.signal = fields.get("signal")
        self.checkpoint = fields.get("checkpoint")
        self.traceparent = fields.get("traceparent")
        self._cancelled = threading.Event()

    def _decode_input(self, input_type: Any) -> None:
        self.input = decode(self.input, input_type, "the task's input")

    @overload
    def result(self, name: str) -> Any: ...

    @overload
    def result(self, name: str, type_: type[ResultT]) -> ResultT: ...

    @overload
    def result(self, name: str, type_: object) -> Any: ...

    def result(self, name: str, type_: Any = Any) -> Any:
        """Return the result of a step that this one depends on, as a value of ``type_``.

        Type checkers know the type of the value if ``type_`` is a class. Annotate the variable for others, such as
        ``Cart | None``.
        """
        if name not in self.results:
            raise PermanentError(
                f"step {self.name} does not depend on a step {name}; see `dependencies` in template "
                f"{self.template} {self.template_version}",
                kind="bad_input",
            )
        return decode(self.results[name], type_, f"the result of step {name}")

    @property
    def remaining(self) -> float:
        """The seconds until the deadline, at least 0. Use it as the timeout of calls to other systems."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the result of the attempt is no longer wanted.

        Its lease is lost, its task is cancelled, its time is over, or the worker is stopping and cannot wait any
        longer. The task of an ``async`` handler is cancelled too. Other handlers should look at this now and then.
        """
        return self._cancelled.is_set()

    def wait_cancelled(self, timeout: float | None = None) -> bool:
        """Block until the attempt is cancelled or ``timeout`` seconds have passed. Return whether it is cancelled."""
        return self._cancelled.wait(timeout)

    def _cancel(self) -> None:
        self._cancelled.set()

    def __repr__(self) -> str:
        return f"<Step {self.name} of task {self.task_id}, attempt {self.attempt}>"


class Handler:
    """A function that runs steps."""

    def __init__(self, function: Callable[[Step[Any]], Any]) -> None:
        self.function = function
        # An object with an async __call__ counts too.
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_code_of(function))
        self.input_type = _input_type(function)


def _code_of(function: Callable[..., Any]) -> Any:
    """Return the function of a partial one, or of an object with ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _input_type(function: Callable[..., Any]) -> Any:
    """Return the ``T`` of a first argument ``Step[T]``."""
    if inspect.isclass(function):
        raise TypeError(f"the handler {function!r} is a class; pass a function, or an object with a method __call__")
    signature = inspect.signature(function)
    try:
        bound = signature.bind(None)
    except TypeError as error:
        raise TypeError(f"the handler {function!r} must take one argument, the step: {error}") from None
    (name, *_) = bound.arguments
    # The annotation can be text, or contain it. Only this one is read, so the others may be undefined.
    annotations = SimpleNamespace(__annotations__={name: signature.parameters[name].annotation})
    code = inspect.unwrap(_code_of(function))
    try:
        annotation = typing.get_type_hints(annotations, getattr(code, "__globals__", {}))[name]
    except NameError as error:
        raise TypeError(
            f"the type of the argument {name} of the handler {function!r} is not known at run time: {error}; define or "
            "import it at the top level of the module, and not below `if TYPE_CHECKING`"
        ) from None
    if typing.get_origin(annotation) is Step:
        (input_type,) = typing.get_args(annotation)
        return Any if isinstance(input_type, TypeVar) else input_type
    return Any
