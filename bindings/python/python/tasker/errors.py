"""The errors that handlers raise, and those of the library."""

from __future__ import annotations

from datetime import timedelta
from typing import Any


class TaskerError(Exception):
    """The base class of all errors of this library."""


class StartError(TaskerError):
    """The worker cannot start. The message says why and what to do."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        #: The exit code for a program that stops with this error: 4 if the database must be migrated, 5 if it is too
        #: new for this library, otherwise 1.
        self.exit_code = exit_code


class UnhealthyError(TaskerError):
    """The worker does not respond, or is not healthy. The message says why."""


class HandlerError(TaskerError):
    """The base class of the errors that handlers raise."""

    def __init__(self, message: str, *, kind: str = "error") -> None:
        super().__init__(message)
        #: What happened, for people.
        self.message = message
        #: The kind of error: a stable name for programs, such as ``card_declined``.
        self.kind = kind


class Wait(Exception):  # noqa: N818 - it is not an error
    """Raised by a handler whose step continues later. Nothing failed, and the attempt does not count.

    Until then the step needs no worker. ``delay`` (seconds) is the longest time, and ``signal`` the name of the signal
    that ends the wait. With neither, the step continues at once. The next attempt finds ``checkpoint`` in
    ``Step.checkpoint``, also after a crash, and the payload of the signal in ``Step.signal``.
    """

    def __init__(
        self,
        delay: float | timedelta | None = None,
        *,
        signal: str | None = None,
        checkpoint: Any = None,
    ) -> None:
        super().__init__("the step waits")
        if isinstance(delay, timedelta):
            delay = delay.total_seconds()
        if delay is not None and not 0 <= delay <= 1e9:
            raise ValueError(f"delay must be between 0 and 1e9 seconds, but is {delay}")
        #: The longest time, in seconds.
        self.delay = delay
        #: The name of the signal.
        self.signal = signal
        #: A JSON value for the next attempt. None keeps the one of this attempt.
        self.checkpoint = checkpoint


class PermanentError(HandlerError):
    """Every attempt would fail, so the step fails at once."""


class RetryableError(HandlerError):
    """Another attempt may succeed. The step's retry policy decides whether and when there is one.

    ``retry_after`` (seconds) replaces the delay of the policy. Every other exception counts as a ``RetryableError``
    whose kind is the name of its class.
    """

    def __init__(self, message: str, *, kind: str = "error", retry_after: float | timedelta | None = None) -> None:
        super().__init__(message, kind=kind)
        if isinstance(retry_after, timedelta):
            retry_after = retry_after.total_seconds()
        if retry_after is not None and not 0 <= retry_after <= 1e9:
            raise ValueError(f"retry_after must be between 0 and 1e9 seconds, but is {retry_after}")
        #: The seconds until the next attempt, or none for the delay of the step's retry policy.
        self.retry_after = retry_after
