"""A client for the API of the server."""

from __future__ import annotations

import datetime
import http.client
import json
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from tasker._json import encode_result
from tasker.errors import TaskerError

#: The longest time that one request waits, in seconds. The server allows 60.
_MAX_WAIT = 30.0
#: How long the server may take to respond besides the time that it waits, in seconds.
_TIMEOUT = 30.0


class ApiError(TaskerError):
    """The server refused a request, or could not be reached."""

    def __init__(self, message: str, status: int = 0, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        #: The HTTP status, or 0 if there was no response.
        self.status = status
        #: The problem document of the response (RFC 9457).
        self.problem = dict(problem or {})


@dataclass(frozen=True)
class TaskStep:
    """A step of a task. The server may send more fields than these."""

    name: str
    status: str
    attempts: int
    result: Any = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Task:
    """A task with its steps. The server may send more fields than these."""

    task_uuid: uuid.UUID
    namespace: str
    name: str
    version: str
    #: For example ``pending``, ``in_progress``, ``completed``, ``blocked_by_failures``, ``failed`` or ``cancelled``.
    status: str
    created_at: datetime.datetime
    context: dict[str, Any]
    steps: list[TaskStep]

    def step(self, name: str) -> TaskStep:
        """Return the step of this name. Raises ``KeyError`` if there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


class Client:
    """Creates tasks, waits for them and cancels them.

    Threads may share a client: each request has a connection of its own. In ``async`` code, call it with
    ``asyncio.to_thread``.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080", *, api_key: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if not _is_server(parts):
            raise ValueError(f"{url!r} is not the URL of a server, such as http://127.0.0.1:8080")
        self._https = parts.scheme == "https"
        self._netloc = parts.netloc
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if api_key is not None:
            self._headers["X-API-Key"] = api_key

    def create(
        self,
        namespace: str,
        name: str,
        context: Any = None,
        *,
        version: str | None = None,
        idempotency_key: str | None = None,
        priority: int | None = None,
        tags: list[str] | None = None,
        traceparent: str | None = None,
    ) -> uuid.UUID:
        """Create a task, and return its id once it is stored.

        ``context``: the task's input: a dictionary, a dataclass or a pydantic model. ``version``: of the template; the
        newest if none. With an ``idempotency_key``, a repeated request returns the same task. ``traceparent``: the
        place in a trace where the task continues it (W3C Trace Context).
        """
        fields: dict[str, Any] = {
            "namespace": namespace,
            "name": name,
            "version": version,
            "context": {} if context is None else context,
            "idempotency_key": idempotency_key,
            "priority": priority,
            "tags": tags,
        }
        outcome = json.loads(encode_result({name: value for name, value in fields.items() if value is not None}))
        if "error" in outcome:
            raise ValueError(outcome["error"]["message"])
        headers = {} if traceparent is None else {"traceparent": traceparent}
        return uuid.UUID(self._request("POST", "/v1/tasks", outcome["result"], headers=headers)["task_uuid"])

    def get(self, task_id: uuid.UUID | str) -> Task:
        """Return a task as it is now."""
        return _task(self._request("GET", f"/v1/tasks/{_id(task_id)}"))

    def wait(self, task_id: uuid.UUID | str, timeout: float | None = None) -> Task:
        """Wait until a task has ended or is blocked by failures, and return it.

        Raises ``TimeoutError`` after ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            seconds = _MAX_WAIT if end is None else max(0.0, min(_MAX_WAIT, end - time.monotonic()))
            task = self._request("GET", f"/v1/tasks/{_id(task_id)}?wait={round(seconds * 1000)}ms", wait=seconds)
            if task["status"] not in ("pending", "in_progress"):
                return _task(task)
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"task {task_id} is still {task['status']} after {timeout} s")

    def cancel(self, task_id: uuid.UUID | str, *, reason: str | None = None) -> None:
        """Cancel a task."""
        self._request("POST", f"/v1/tasks/{_id(task_id)}/cancel", {} if reason is None else {"reason": reason})

    def signal(self, task_id: uuid.UUID | str, name: str, payload: Any = None) -> None:
        """Send a signal to a task. The first signal of a name is kept. The same one again changes nothing."""
        outcome = json.loads(encode_result({"payload": payload}))
        if "error" in outcome:
            raise ValueError(outcome["error"]["message"])
        path = f"/v1/tasks/{_id(task_id)}/signals/{urllib.parse.quote(name, safe='')}"
        self._request("POST", path, outcome["result"])

    def _request(
        self, method: str, path: str, body: Any = None, *, wait: float = 0.0, headers: Mapping[str, str] | None = None
    ) -> Any:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._netloc, timeout=_TIMEOUT + wait)
        try:
            data = None if body is None else json.dumps(body, allow_nan=False).encode()
            connection.request(method, self._prefix + path, data, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"no response from {self._netloc}: {error}") from error
        finally:
            connection.close()
        try:
            parsed = json.loads(content) if content else None
        except ValueError as error:
            raise ApiError(f"{method} {path}: the response is not JSON: {error}", response.status) from error
        if response.status >= 400:
            problem = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
            text = ": ".join(str(problem[key]) for key in ("title", "detail") if key in problem)
            raise ApiError(f"{method} {path}: {response.status} {text or response.reason}", response.status, problem)
        return parsed


def _is_server(parts: urllib.parse.SplitResult) -> bool:
    try:
        # Raises if the port is not a number.
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None


def _task(fields: Any) -> Task:
    return msgspec.convert(fields, Task)


def _id(task_id: uuid.UUID | str) -> str:
    return str(task_id if isinstance(task_id, uuid.UUID) else uuid.UUID(task_id))
