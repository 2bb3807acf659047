"""The names of tasker-core's Python library, for handlers that were written for it.

A handler moves by changing its import::

    from tasker.compat import StepHandler, depends_on, inputs, step_handler, to_handler

    @step_handler("pay")
    @depends_on(cart=("validate_cart", CartModel))
    @inputs(OrderInput)
    def pay(cart, inputs, context):
        ...

    class ShipHandler(StepHandler):
        handler_name = "ship"

        def call(self, context):
            return self.success({"shipped": context.get_dependency_result("pay")})

    worker = tasker.Worker(templates="templates", steps=[pay, to_handler(ShipHandler)])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from tasker import errors
from tasker._json import decode
from tasker.steps import FunctionT, Step, step

__all__ = [
    "ErrorType",
    "PermanentError",
    "RetryableError",
    "StepContext",
    "StepHandler",
    "StepHandlerResult",
    "depends_on",
    "inputs",
    "step_handler",
    "to_handler",
]

#: The attribute of a function that holds how to compute its arguments from a step.
_ARGUMENTS = "__tasker_arguments__"


class PermanentError(errors.PermanentError):
    """Every attempt would fail. The ``error_code`` is the kind. The other arguments are ignored."""

    def __init__(self, message: str, *, error_code: str | None = None, **_: Any) -> None:
        super().__init__(message, kind=error_code or ErrorType.PERMANENT_ERROR)


class RetryableError(errors.RetryableError):
    """Another attempt may succeed. The ``error_code`` is the kind. The other arguments are ignored."""

    def __init__(
        self, message: str, *, error_code: str | None = None, retry_after: float | None = None, **_: Any
    ) -> None:
        super().__init__(message, kind=error_code or ErrorType.RETRYABLE_ERROR, retry_after=retry_after)


class ErrorType:
    """Kinds of errors."""

    PERMANENT_ERROR = "permanent_error"
    RETRYABLE_ERROR = "retryable_error"
    VALIDATION_ERROR = "validation_error"
    TIMEOUT = "timeout"
    HANDLER_ERROR = "handler_error"


class StepContext:
    """A :class:`tasker.Step` with the names of tasker-core. It has the attributes of the step, too."""

    def __init__(self, step: Step[Any]) -> None:
        self.step = step
        self.task_uuid = str(step.task_id)
        self.input_data: dict[str, Any] = step.input
        self.dependency_results = step.results
        #: The template's settings for the handler. Those of a batch worker have its cursor.
        self.step_config = self.step_inputs = step.initialization
        #: The number of attempts before this one.
        self.retry_count = step.attempt - 1
        self.max_retries = step.max_attempts

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the step."""
        return getattr(self.step, name)

    def get_input(self, name: str) -> Any:
        """Return a field of the task's input, or none."""
        return self.input_data.get(name)

    def get_input_or(self, name: str, default: Any) -> Any:
        """Return a field of the task's input, or the default."""
        return self.input_data.get(name, default)

    def get_dependency_result(self, name: str) -> Any:
        """Return the result of a dependency, or none."""
        return self.dependency_results.get(name)

    def get_dependency_field(self, name: str, *path: str) -> Any:
        """Return a part of the result of a dependency, or none."""
        value = self.get_dependency_result(name)
        for key in path:
            value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
        return value


class StepHandlerResult:
    """What a handler returns: make it with :meth:`success` or :meth:`failure`. Metadata are ignored."""

    def __init__(self, result: Any = None, error: errors.HandlerError | None = None) -> None:
        self.result, self.error = result, error

    @staticmethod
    def success(result: Any = None, metadata: Any = None) -> StepHandlerResult:
        """Return the result of a step that has completed."""
        return StepHandlerResult({} if result is None else result)

    @staticmethod
    def failure(
        message: str,
        error_type: str = ErrorType.HANDLER_ERROR,
        retryable: bool = True,
        metadata: Any = None,
        error_code: str | None = None,
    ) -> StepHandlerResult:
        """Return the error of an attempt. The ``error_code`` is its kind, or else the ``error_type``."""
        error = RetryableError if retryable else PermanentError
        return StepHandlerResult(error=error(message, error_code=error_code or error_type))


class StepHandler:
    """The base class of handlers."""

    #: The name of the handler in templates.
    handler_name: str

    def call(self, context: StepContext) -> Any:
        """Run a step. It may be ``async``."""
        raise NotImplementedError

    success = staticmethod(StepHandlerResult.success)
    failure = staticmethod(StepHandlerResult.failure)


def to_handler(handler_class: type[StepHandler]) -> Callable[[Step[Any]], Any]:
    """Make a handler of a class. Each attempt has an object of its own."""
    name: str = handler_class.handler_name

    def handler(context: Step[Any]) -> Any:
        return _returned(handler_class().call(StepContext(context)))

    async def async_handler(context: Step[Any]) -> Any:
        return _returned(await handler_class().call(StepContext(context)))

    return step(name)(async_handler if inspect.iscoroutinefunction(handler_class.call) else handler)


def _returned(result: Any) -> Any:
    if not isinstance(result, StepHandlerResult):
        return result
    if result.error is not None:
        raise result.error
    return result.result


def step_handler(callable_name: str, version: str = "") -> Callable[[Callable[..., Any]], Callable[[Step[Any]], Any]]:
    """Turn a function of ``context``, and of the arguments of the decorators below it, into a handler.

    ``context`` is a :class:`StepContext`. A ``version`` is ignored.
    """

    def handler_of(function: Callable[..., Any]) -> Callable[[Step[Any]], Any]:
        arguments = getattr(function, _ARGUMENTS, {})
        with_context = "context" in inspect.signature(function).parameters

        def call(step: Step[Any]) -> Any:
            values = {name: argument(step) for name, argument in arguments.items()}
            return function(**values, **({"context": StepContext(step)} if with_context else {}))

        def handler(context: Step[Any]) -> Any:
            return _returned(call(context))

        async def async_handler(context: Step[Any]) -> Any:
            return _returned(await call(context))

        chosen = async_handler if inspect.iscoroutinefunction(function) else handler
        chosen.__name__, chosen.__doc__ = function.__name__, function.__doc__
        return step(callable_name)(chosen)

    return handler_of


def depends_on(**dependencies: str | tuple[str, type[Any]]) -> Callable[[FunctionT], FunctionT]:
    """Pass results of dependencies as arguments: ``cart="validate_cart"``, or with a type, ``("validate_cart", Cart)``.

    The result of a step that this one does not depend on is none.
    """

    def argument(dependency: str | tuple[str, type[Any]]) -> Callable[[Step[Any]], Any]:
        name, type_ = (dependency, Any) if isinstance(dependency, str) else dependency
        return lambda context: context.result(name, type_) if name in context.results else None

    return _adding({name: argument(dependency) for name, dependency in dependencies.items()})


def inputs(*names: str | type[Any]) -> Callable[[FunctionT], FunctionT]:
    """Pass the task's input: as the argument ``inputs`` of a type, or each named field as an argument of its name.

    A field that the input does not have is none.
    """

    def whole(type_: type[Any]) -> Callable[[Step[Any]], Any]:
        return lambda context: decode(context.input, type_, "the task's input")

    def field(name: str) -> Callable[[Step[Any]], Any]:
        return lambda context: context.input.get(name)

    return _adding(dict((name, field(name)) if isinstance(name, str) else ("inputs", whole(name)) for name in names))


def _adding(arguments: dict[str, Callable[[Step[Any]], Any]]) -> Callable[[FunctionT], FunctionT]:
    def add(function: FunctionT) -> FunctionT:
        setattr(function, _ARGUMENTS, {**getattr(function, _ARGUMENTS, {}), **arguments})
        return function

    return add
