"""JSON to Python types and back, without changing a value."""

from __future__ import annotations

import builtins
import inspect
import json
from typing import Any

import msgspec

from tasker.errors import HandlerError, PermanentError, RetryableError, Wait

#: The class of exceptions that are groups. Python 3.10 has none.
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())


def decode(value: Any, type_: Any, what: str) -> Any:
    """Turn a JSON value into a dataclass, a pydantic model or another type. ``what`` names it in the error."""
    if type_ is Any or type_ is object:
        return value
    try:
        if is_model(type_):
            return type_.model_validate(value)
        return msgspec.convert(value, type_, dec_hook=_decode_model)
    except (msgspec.ValidationError, TypeError, ValueError) as error:  # pydantic's error is a ValueError
        raise PermanentError(f"{what}: {error}", kind="bad_input") from error


def encode_result(result: Any) -> str:
    """Return the outcome of a handler that returned."""
    try:
        return json.dumps({"result": result}, allow_nan=False, default=_encode)
    except (TypeError, ValueError, RecursionError) as error:
        return encode_error(PermanentError(f"the handler's result is not JSON: {error}", kind="bad_result"))


def encode_error(error: BaseException) -> str:
    """Return the outcome of a handler that raised. It never raises itself."""
    error = _single(error)
    try:
        return _encode_wait(error) if isinstance(error, Wait) else _encode_error(error)
    except Exception as broken:
        # A class of the user can lack what its base class has, or its text can raise.
        name = type(error).__name__
        message = f"{name}, which cannot be read: {type(broken).__name__}"
        known = PermanentError if isinstance(error, PermanentError) else RetryableError
        return _encode_error(known(message, kind=name))


def _single(error: BaseException) -> BaseException:
    """Return the exception of a group of one, such as a task group raises for its task."""
    parts: tuple[BaseException, ...] = getattr(error, "exceptions", ()) if isinstance(error, _GROUP) else ()
    return _single(parts[0]) if len(parts) == 1 else error


def _encode_error(error: BaseException) -> str:
    kind, message = type(error).__name__, str(error) or repr(error)
    if isinstance(error, HandlerError):
        kind, message = error.kind, error.message
    fields: dict[str, Any] = {"kind": _text(kind), "message": _text(message)}
    if isinstance(error, PermanentError):
        fields["permanent"] = True
    elif isinstance(error, RetryableError) and error.retry_after is not None:
        fields["retry_after_ms"] = round(error.retry_after * 1000)
    return json.dumps({"error": fields})


def _encode_wait(wait: Wait) -> str:
    fields: dict[str, Any] = {}
    if wait.delay is not None:
        fields["delay_ms"] = round(wait.delay * 1000)
    if wait.signal is not None:
        fields["signal"] = wait.signal
    if wait.checkpoint is not None:
        fields["checkpoint"] = wait.checkpoint
    try:
        return json.dumps({"wait": fields}, allow_nan=False, default=_encode)
    except (TypeError, ValueError, RecursionError) as error:
        return encode_error(PermanentError(f"the checkpoint is not JSON: {error}", kind="bad_checkpoint"))


def is_model(type_: Any) -> bool:
    """Return whether a type is a pydantic model. The library does not depend on pydantic."""
    return isinstance(type_, type) and hasattr(type_, "model_validate") and hasattr(type_, "model_dump")


def _decode_model(type_: Any, value: Any) -> Any:
    if is_model(type_):
        return type_.model_validate(value)
    raise TypeError(f"values of type {type_} are not supported")


def _encode(value: Any) -> Any:
    if is_model(type(value)):
        return value.model_dump(mode="json")
    return msgspec.to_builtins(value, enc_hook=_encode_model)


def _encode_model(value: Any) -> Any:
    if is_model(type(value)):
        return value.model_dump(mode="json")
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("it is a coroutine; the handler must be `async` itself, also where a decorator wraps it")
    raise TypeError(f"an object of type {type(value).__name__} cannot be a result")


def _text(value: object) -> str:
    """Return the text of a value, without the characters that JSON or PostgreSQL cannot hold."""
    text = value if isinstance(value, str) else str(value)
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
