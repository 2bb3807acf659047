"""Workers: they run the steps of tasks with Python functions."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tasker._json import encode_error, encode_result
from tasker._native import BridgeError, NativeWorker, check_health
from tasker._threads import Threads
from tasker.errors import HandlerError, StartError, UnhealthyError, Wait
from tasker.logs import CURRENT
from tasker.steps import CALLABLE, FunctionT, Handler, Step

logger = logging.getLogger("tasker")

_LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO, "DEBUG": logging.DEBUG, "TRACE": 5}
#: The most events that the dispatcher takes at once.
_BATCH = 64

_Self = TypeVar("_Self", bound="Worker")


class Worker:
    """Runs the steps of tasks with handlers.

    A handler is a function that takes a :class:`Step` and returns the step's result: a JSON value, a dataclass, a
    pydantic model, or a value of another type that msgspec supports. ``async`` functions run on the event loop, all
    others in threads. Register handlers before the start.

    Leases, retries and the status API (``/health``, ``/v1/worker/status``, ``/metrics``) are the work of a runtime on
    threads of its own. So a handler that blocks the interpreter does not lose its lease.

    Every option that is none comes from the environment (``DATABASE_URL``, ``TASKER_NAMESPACES``,
    ``TASKER_WORKER_HOST``, ``TASKER_WORKER_PORT``, ``TASKER_WORKER_ID``), then from the settings file, then from
    Tasker's defaults.
    """

    def __init__(
        self,
        *,
        templates: str | Path | Iterable[str | Path] = (),
        steps: Iterable[Callable[..., Any]] = (),
        namespaces: str | Iterable[str] = (),
        config: str | Path | None = None,
        database_url: str | None = None,
        host: str | None = None,
        port: int | None = None,
        worker_id: str | None = None,
        max_concurrent: int | None = None,
        lease: float | None = None,
        shutdown_timeout: float | None = None,
        log_filter: str | None = None,
    ) -> None:
        """Create a worker that is not running.

        ``templates``: files with task templates, and folders of them. ``steps``: functions that :func:`tasker.step`
        has named. ``namespaces``: namespaces to serve besides those of the templates. ``config``: the settings file.
        ``port``: of the status API, 0 for a free one. ``worker_id``: unique among running workers.
        ``max_concurrent``: how many steps run at once. ``lease``: the seconds for which a step belongs to the worker
        without a heartbeat. ``shutdown_timeout``: the seconds that running steps may take to finish at a stop.
        ``log_filter``: which events of the runtime are logged, such as ``info,tasker_worker=debug``.
        """
        paths = [templates] if isinstance(templates, (str, Path)) else list(templates)
        options = {
            "templates": [str(path) for path in paths],
            "namespaces": [namespaces] if isinstance(namespaces, str) else list(namespaces),
            "config": None if config is None else str(config),
            "database_url": database_url,
            "host": host,
            "port": port,
            "worker_id": worker_id,
            "max_concurrent": max_concurrent,
            "lease_ms": _milliseconds(lease),
            "shutdown_timeout_ms": _milliseconds(shutdown_timeout),
            "log_filter": log_filter,
        }
        self._options = {name: value for name, value in options.items() if value is not None}
        self._handlers: dict[str, Handler] = {}
        self._starting = False
        self._running: _Running | None = None
        for function in steps:
            self.add(function)

    def step(self, callable_name: str) -> Callable[[FunctionT], FunctionT]:
        """Register a function as the handler of a callable. The decorator returns the function unchanged."""

        def register(function: FunctionT) -> FunctionT:
            self.add(function, callable_name)
            return function

        return register

    def add(self, function: Callable[..., Any], callable_name: str | None = None) -> None:
        """Register a function that :func:`tasker.step` has named, or under the given name."""
        name = callable_name or getattr(function, CALLABLE, None)
        if name is None:
            raise ValueError(f"{function!r} has no callable name: decorate it with @tasker.step(...)")
        if name in self._handlers:
            raise ValueError(f"two handlers are registered as {name!r}")
        if self._starting or self._running is not None:
            raise RuntimeError("the worker is running; register handlers before the start")
        self._handlers[name] = Handler(function)

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop gracefully. Call it in the main thread, where no event loop runs.

        A second signal ends the process at once. Raises :class:`StartError` if the worker cannot start.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("`run` handles signals, so it needs the main thread; elsewhere, use `async with worker`")
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, stop.set)
        try:
            async with self:
                await stop.wait()
                for number in signals:
                    loop.remove_signal_handler(number)
                    signal.signal(number, signal.SIG_DFL)
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check_health(self) -> None:
        """Ask the worker with the options of this one, which another process on this machine runs, if it is healthy.

        Use it for the health check of a container. Raises :class:`UnhealthyError` if it is not, or does not respond
        within three seconds.
        """
        try:
            check_health(json.dumps(self._options))
        except BridgeError as error:
            raise UnhealthyError(error.args[0]) from None

    async def start(self) -> None:
        """Start to run steps. The handlers that are ``async`` run on the current event loop."""
        if self._running is not None:
            self._checked()
        if self._starting or self._running is not None:
            raise RuntimeError("the worker is running already")
        options = json.dumps({**self._options, "callables": list(self._handlers)})
        self._starting = True
        try:
            native = await asyncio.to_thread(NativeWorker, options)
        except BridgeError as error:
            message, exit_code = error.args
            raise StartError(message, exit_code) from None
        finally:
            self._starting = False
        self._running = _Running(native, self._handlers, asyncio.get_running_loop())

    async def stop(self) -> None:
        """Stop gracefully. Running steps may finish within the shutdown timeout.

        Then they are cancelled and returned: other workers start them at once, and the attempt does not count.
        """
        if self._running is not None:
            await self._checked().stop()
            self._running = None

    async def __aenter__(self: _Self) -> _Self:
        """Start the worker."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the worker."""
        await self.stop()

    @property
    def url(self) -> str:
        """The URL of the status API of the running worker, without a path."""
        return self._checked().native.url

    @property
    def worker_id(self) -> str:
        """The name under which the running worker is registered."""
        return self._checked().native.worker_id

    def _checked(self) -> _Running:
        """Return the running worker, unless the process is a fork of the one that started it."""
        if self._running is None:
            raise RuntimeError("the worker is not running")
        if self._running.process != os.getpid():
            raise RuntimeError(
                f"this worker was started by process {self._running.process} and cannot be used after a fork, in "
                f"process {os.getpid()}; start the worker after the fork, or start several processes instead"
            )
        return self._running


class _Running:
    """A running worker."""

    def __init__(self, native: NativeWorker, handlers: dict[str, Handler], loop: asyncio.AbstractEventLoop) -> None:
        self.native = native
        self._handlers = handlers
        self._loop = loop
        # What the program has set before the start, such as its connections. Each attempt gets a copy.
        self._context = contextvars.copy_context()
        self._threads = Threads(native.max_concurrent)
        # The cancellations of running steps, by id.
        self._cancels: dict[int, Callable[[], None]] = {}
        # The tasks of running async handlers, by id. Only the event loop uses it.
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._exiting = False
        self._stopping = False
        self.process = os.getpid()
        self._dispatcher = threading.Thread(target=self._dispatch, name="tasker-dispatcher", daemon=True)
        self._dispatcher.start()
        atexit.register(self._exit)

    async def stop(self) -> None:
        await asyncio.to_thread(self.native.stop)
        await asyncio.to_thread(self._dispatcher.join)
        self._threads.close()
        atexit.unregister(self._exit)

    def _exit(self) -> None:
        """End the dispatcher if the process exits without a stop: it must not wait for the interpreter's lock then."""
        if os.getpid() == self.process:
            self._exiting = True
            self.native.interrupt()
            self._dispatcher.join()

    def _dispatch(self) -> None:
        """Take events until the worker has stopped."""
        while not self._exiting and (events := self.native.next(_BATCH)) is not None:
            for_loop: list[Callable[[], object]] = []
            for kind, id_, text in events:
                if kind == "step":
                    self._start(id_, text, for_loop)
                elif kind == "cancelled":
                    cancel = self._cancels.get(id_)
                    if cancel is not None:
                        cancel()
                elif kind == "log":
                    _log(text)
            if for_loop:
                self._call_in_loop(for_loop)

    def _call_in_loop(self, calls: list[Callable[[], object]]) -> None:
        try:
            self._loop.call_soon_threadsafe(_call_all, calls)
        except RuntimeError:
            # The loop is closed. Other workers get its steps, because a stop returns those that do not end.
            if not self._stopping:
                self._stopping = True
                logger.error("the event loop of the worker is closed, so it stops; call `stop` before the loop ends")
                threading.Thread(target=self.native.stop, name="tasker-stop", daemon=True).start()

    def _start(self, id_: int, text: str, for_loop: list[Callable[[], object]]) -> None:
        """Start an attempt: in a thread, or by a call that is added to ``for_loop``."""
        fields = json.loads(text)
        # The runtime sends only steps of registered callables.
        handler = self._handlers[fields["callable"]]
        step = Step[Any](fields)
        # Each attempt has a context of its own, which names the step.
        context = self._context.copy()
        context.run(CURRENT.set, step)
        try:
            step._decode_input(handler.input_type)
        except Exception as error:
            context.run(self._failed, id_, step, error)
            return
        if handler.is_async:
            self._cancels[id_] = partial(self._cancel_task, id_, step)
            for_loop.append(partial(context.run, partial(self._start_task, id_, handler, step)))
        else:
            self._cancels[id_] = step._cancel
            self._threads.submit(partial(context.run, partial(self._run_in_thread, id_, handler, step)))

    def _run_in_thread(self, id_: int, handler: Handler, step: Step[Any]) -> None:
        try:
            outcome = encode_result(handler.function(step))
        except BaseException as error:
            self._failed(id_, step, error)
        else:
            self._complete(id_, outcome)

    def _start_task(self, id_: int, handler: Handler, step: Step[Any]) -> None:
        self._tasks[id_] = self._loop.create_task(self._run_task(id_, handler, step))

    def _cancel_task(self, id_: int, step: Step[Any]) -> None:
        step._cancel()
        # The loop makes calls in their order, so the task has started by then. It may have ended, too.
        self._call_in_loop([lambda: (task := self._tasks.get(id_)) is not None and task.cancel()])

    async def _run_task(self, id_: int, handler: Handler, step: Step[Any]) -> None:
        try:
            outcome = encode_result(await handler.function(step))
        except BaseException as error:
            self._failed(id_, step, error)
        else:
            self._complete(id_, outcome)
        finally:
            del self._tasks[id_]

    def _failed(self, id_: int, step: Step[Any], error: BaseException) -> None:
        self._complete(id_, encode_error(error))
        expected = isinstance(error, (HandlerError, Wait))
        cancelled = isinstance(error, asyncio.CancelledError) and step.cancelled
        if not expected and not cancelled:
            logger.warning("a handler failed: %r", step, exc_info=error)

    def _complete(self, id_: int, outcome: str) -> None:
        self._cancels.pop(id_, None)
        self.native.complete(id_, outcome)


def _call_all(calls: list[Callable[[], object]]) -> None:
    for call in calls:
        call()


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _log(text: str) -> None:
    """Write an event of the runtime to the logger ``tasker.runtime`` and below."""
    event = json.loads(text)
    level = _LEVELS[event["level"]]
    fields = event["fields"]
    message = " ".join([event["message"], *(f"{name}={value}" for name, value in fields.items())])
    name = event["target"].replace("::", ".")
    logging.getLogger(f"tasker.runtime.{name}").log(level, "%s", message, extra={"fields": fields})
