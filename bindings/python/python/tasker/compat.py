"""The decorators of tasker-core's Python library, for handlers that were written for it.

A handler moves by changing its import::

    from tasker.compat import depends_on, inputs, step_handler

    @step_handler("pay")
    @depends_on(cart=("validate_cart", CartModel))
    @inputs(OrderInput)
    def pay(cart, inputs, context):
        ...

    worker = tasker.Worker(templates="templates", steps=[pay])

``context`` is a :class:`tasker.Step`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tasker._json import decode
from tasker.steps import FunctionT, Step, step

__all__ = ["depends_on", "inputs", "step_handler"]

#: The attribute of a function that holds how to compute its arguments from a step.
_ARGUMENTS = "__tasker_arguments__"


def step_handler(callable_name: str) -> Callable[[Callable[..., Any]], Callable[[Step[Any]], Any]]:
    """Turn a function of ``context``, and of the arguments of the decorators below it, into a handler."""

    def handler_of(function: Callable[..., Any]) -> Callable[[Step[Any]], Any]:
        arguments = getattr(function, _ARGUMENTS, {})

        def handler(context: Step[Any]) -> Any:
            return function(context=context, **{name: argument(context) for name, argument in arguments.items()})

        async def async_handler(context: Step[Any]) -> Any:
            return await handler(context)

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
