"""The worker against a real server."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import dataclasses
import datetime
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

import tasker
from conftest import DEADLINE, Stack
from tasker import PermanentError, RetryableError, Step, Task, Worker

Template = Callable[..., Path]


@dataclasses.dataclass
class Order:
    number: int
    tags: list[str] = dataclasses.field(default_factory=list)


class Cart(pydantic.BaseModel):
    total: int
    at: datetime.datetime


def run(stack: Stack, worker: Worker, namespace: str, *inputs: Any) -> list[Task]:
    """Run tasks with a worker, and return them at rest."""

    async def run_all() -> list[Task]:
        async with worker:
            ids = [await asyncio.to_thread(stack.client.create, namespace, "test", value) for value in inputs]
            return [await asyncio.to_thread(stack.client.wait, id_, DEADLINE) for id_ in ids]

    return asyncio.run(run_all())


def error_of(task: Task, step: str) -> tuple[str, str]:
    assert task.status == "blocked_by_failures", task
    error = task.step(step).error
    assert error is not None
    return error["kind"], error["message"]


@pytest.fixture
def worker(stack: Stack, template: Template, namespace: str) -> Callable[..., Worker]:
    def new(steps: dict[str, dict[str, Any]], handlers: dict[str, Callable[..., Any]], **options: Any) -> Worker:
        options = {"port": 0, "database_url": stack.database_url, **options}
        worker = Worker(templates=template(**steps), **options)
        for name, function in handlers.items():
            worker.add(function, f"{namespace}.{name}")
        return worker

    return new


def test_async_and_other_handlers_share_types(stack: Stack, worker: Any, namespace: str) -> None:
    async def validate(step: Step[Order]) -> Cart:
        assert (step.attempt, step.max_attempts, step.name) == (1, 1, "validate")
        assert step.key == f"{step.task_id}/validate"
        assert 0 < step.remaining <= 300
        await asyncio.sleep(0)
        return Cart(total=step.input.number * 2, at=datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc))

    def pay(step: Step[Order]) -> dict[str, Any]:
        assert threading.current_thread() is not threading.main_thread()
        cart = step.result("validate", Cart)
        assert step.result("validate")["total"] == cart.total
        return {"total": cart.total, "year": cart.at.year, "order": step.input}

    steps = {"validate": {}, "pay": {"dependencies": ["validate"]}}
    (task,) = run(stack, worker(steps, {"validate": validate, "pay": pay}), namespace, {"number": 4, "tags": ["a"]})
    assert task.status == "completed", task
    assert task.step("validate").result == {"total": 8, "at": "2026-01-02T00:00:00Z"}
    assert task.step("pay").result == {"total": 8, "year": 2026, "order": {"number": 4, "tags": ["a"]}}


def test_a_step_waits_and_keeps_its_checkpoint(
    stack: Stack, worker: Any, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def approve(step: Step[Any]) -> list[Any]:
        if step.checkpoint is None:
            raise tasker.Wait(checkpoint={"rows": 1})
        if step.signal is None:
            # The signal may arrive before the step waits for it.
            stack.client.signal(step.task_id, "approved", {"by": "ada"})
            raise tasker.Wait(60, signal="approved")
        return [step.attempt, step.checkpoint, step.signal]

    (task,) = run(stack, worker({"approve": {}}, {"approve": approve}), namespace, {})
    assert task.status == "completed", task
    assert task.step("approve").result == [1, {"rows": 1}, {"by": "ada"}]
    assert "a handler failed" not in caplog.text


def test_an_exception_without_text_gives_back_its_slot(stack: Stack, worker: Any, namespace: str) -> None:
    class NoTextError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("it cannot be shown")

    async def in_loop(step: Step[Any]) -> None:
        raise NoTextError

    def in_thread(step: Step[Any]) -> None:
        raise NoTextError

    new = worker({"in_loop": {}, "in_thread": {}}, {"in_loop": in_loop, "in_thread": in_thread}, max_concurrent=1)
    for task in run(stack, new, namespace, {}, {}):
        for step in "in_loop", "in_thread":
            assert error_of(task, step) == ("NoTextError", "NoTextError, which cannot be read: RuntimeError")


TENANT = contextvars.ContextVar("tenant", default="nobody")


def test_handlers_see_the_context_of_the_start(stack: Stack, worker: Any, namespace: str) -> None:
    async def in_loop(step: Step[Any]) -> str:
        found = TENANT.get()
        TENANT.set("only in this attempt")
        return found

    def in_thread(step: Step[Any]) -> str:
        found = TENANT.get()
        TENANT.set("only in this attempt")
        return found

    steps = {"in_loop": {}, "in_thread": {}, "later": {"dependencies": ["in_loop", "in_thread"]}}
    token = TENANT.set("ada")
    try:
        handlers = {"in_loop": in_loop, "in_thread": in_thread, "later": in_thread}
        (task,) = run(stack, worker(steps, handlers), namespace, {})
    finally:
        TENANT.reset(token)
    assert [step.result for step in task.steps] == ["ada"] * 3, task


def test_only_one_start_wins(worker: Any) -> None:
    async def scenario() -> list[BaseException | None]:
        new = worker({"noop": {}}, {"noop": lambda step: None})
        try:
            return await asyncio.gather(new.start(), new.start(), return_exceptions=True)
        finally:
            await new.stop()

    first, second = asyncio.run(scenario())
    assert first is None
    assert isinstance(second, RuntimeError) and "running already" in str(second)


def test_steps_of_a_closed_loop_go_to_another_worker(stack: Stack, worker: Any, namespace: str) -> None:
    async def number(step: Step[Any]) -> int:
        return step.attempt

    lost = worker({"number": {}}, {"number": number}, shutdown_timeout=0.1)
    asyncio.run(lost.start())
    task_id = stack.client.create(namespace, "test")

    async def scenario() -> Task:
        async with worker({"number": {}}, {"number": number}):
            return await asyncio.to_thread(stack.client.wait, task_id, DEADLINE)

    task = asyncio.run(scenario())
    assert (task.status, task.step("number").result) == ("completed", 1), task
    asyncio.run(lost.stop())


def test_a_map_runs_once_for_each_element(stack: Stack, worker: Any, namespace: str) -> None:
    steps = {"list": {}, "each": {"dependencies": ["list"], "map": {"step": "list"}}}
    handlers = {"list": lambda step: [1, 2, 3], "each": lambda step: step.item * 2}
    (task,) = run(stack, worker(steps, handlers), namespace, {})
    assert [step.result for step in task.steps if step.name.startswith("each_")] == [2, 4, 6], task


def test_every_failure_has_a_kind_and_a_message(stack: Stack, worker: Any, namespace: str) -> None:
    async def permanent(step: Step[Any]) -> None:
        raise PermanentError("never", kind="declined")

    def retryable(step: Step[Any]) -> int:
        if step.attempt == 1:
            raise RetryableError("later", kind="down", retry_after=0.001)
        return step.attempt

    def other(step: Step[Any]) -> None:
        raise LookupError("nobody knows")

    async def exits(step: Step[Any]) -> None:
        sys.exit("leave")

    async def wrong_input(step: Step[Order]) -> None:
        raise AssertionError("not called")

    async def wrong_model(step: Step[Cart]) -> None:
        raise AssertionError("not called")

    async def wrong_result(step: Step[Any]) -> object:
        return object()

    async def no_dependency(step: Step[Any]) -> object:
        return step.result("other")

    handlers = {
        "permanent": permanent,
        "other": other,
        "exits": exits,
        "wrong_input": wrong_input,
        "wrong_model": wrong_model,
        "wrong_result": wrong_result,
        "no_dependency": no_dependency,
        "retryable": retryable,
    }
    steps: dict[str, dict[str, Any]] = {name: {} for name in handlers}
    steps["retryable"] = {"retry": {"limit": 2, "backoff_base_ms": 1}}
    (task,) = run(stack, worker(steps, handlers), namespace, {"number": "four"})
    assert error_of(task, "permanent") == ("declined", "never")
    assert error_of(task, "other") == ("LookupError", "nobody knows")
    assert error_of(task, "exits") == ("SystemExit", "leave")
    assert error_of(task, "wrong_input") == ("bad_input", "the task's input: Expected `int`, got `str` - at `$.number`")
    assert error_of(task, "wrong_model")[0] == "bad_input"
    kind, message = error_of(task, "wrong_result")
    assert kind == "bad_result" and "object" in message
    assert error_of(task, "no_dependency")[0] == "bad_input"
    assert task.step("retryable").result == 2


#: Values that must not change on their way through a handler.
UNCHANGED = [
    None,
    True,
    0,
    -1,
    2**53 + 1,
    -(2**63),
    2**64 - 1,
    0.1,
    1e300,
    5e-324,
    "",
    "ü\N{PILE OF POO}\u2028\x7f",
    '"\\/\b\f\n\r\t',
    [],
    {},
    [[], [{}], {"": None}],
    {"b": 1, "a": {"ü": [1, 2.5, "x"]}},
    "x" * (1024 * 1024 - 500),
]

#: Results that cannot be stored, with a part of the message.
REFUSED: list[tuple[Any, str]] = [
    (float("nan"), "JSON compliant"),
    ([float("inf")], "JSON compliant"),
    (2**64, "64 bits"),
    ("\ud800", "hex escape"),
    ("a\0b", "NUL"),
    ({1: "a", "1": "b"}, "twice"),
    ("x" * (1024 * 1024 + 1), "1048576"),
    ({"a", 1.5j}, "complex"),
]


def same(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal, with the types of their numbers. Objects have no order."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_json_passes_unchanged_or_is_refused(stack: Stack, worker: Any, namespace: str) -> None:
    good = [*UNCHANGED, nested(99)]
    bad = [*REFUSED, (nested(101), "100 levels"), (nested(5000), "")]

    async def echo(step: Step[Any]) -> Any:
        value = step.input["value"]
        number = step.input["number"]
        assert same(value, good[number])
        return value

    async def refuse(step: Step[Any]) -> Any:
        return bad[step.input["number"]][0]

    inputs = [{"number": number, "value": value} for number, value in enumerate(good)]
    # The context of a task is limited to one mebibyte too, with its other fields.
    tasks = run(stack, worker({"echo": {}}, {"echo": echo}), namespace, *inputs)
    for task, value in zip(tasks, good, strict=True):
        assert task.status == "completed", task.steps[0].error
        assert same(task.step("echo").result, value)

    other = f"{namespace}_refused"
    template_of_other = worker({"refuse": {}}, {"refuse": refuse})._options["templates"][0]
    path = Path(template_of_other)
    path.write_text(path.read_text().replace(namespace, other))
    refusing = Worker(templates=path, port=0, database_url=stack.database_url)
    refusing.add(refuse, f"{other}.refuse")
    tasks = run(stack, refusing, other, *[{"number": number} for number in range(len(bad))])
    for task, (_, reason) in zip(tasks, bad, strict=True):
        kind, message = error_of(task, "refuse")
        assert kind == "bad_result", message
        assert reason in message


def test_a_handler_past_its_time_limit_is_cancelled_and_keeps_its_slot(
    stack: Stack, worker: Any, namespace: str
) -> None:
    ended = threading.Event()
    seen: list[str] = []

    async def in_loop(step: Step[Any]) -> None:
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            assert step.cancelled
            seen.append("in_loop")
            raise

    def in_thread(step: Step[Any]) -> None:
        assert step.wait_cancelled(DEADLINE)
        time.sleep(0.5)
        seen.append("in_thread")
        ended.set()

    def after(step: Step[Any]) -> bool:
        return ended.is_set()

    limit = {"timeout_seconds": 1}
    steps = {"in_thread": limit, "in_loop": limit, "after": {}}
    handlers = {"in_loop": in_loop, "in_thread": in_thread, "after": after}
    # With one slot, the steps run one after the other, in an order that the test does not know.
    (task,) = run(stack, worker(steps, handlers, max_concurrent=1), namespace, {})
    assert error_of(task, "in_loop")[0] == error_of(task, "in_thread")[0] == "timeout"
    assert sorted(seen) == ["in_loop", "in_thread"]
    assert task.step("after").status == "completed"


def test_a_cancelled_task_cancels_its_handler(stack: Stack, worker: Any, namespace: str) -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def wait(step: Step[Any]) -> None:
        started.set()
        try:
            await asyncio.sleep(DEADLINE)
        finally:
            cancelled.set()

    async def scenario() -> None:
        async with worker({"wait": {}}, {"wait": wait}, lease=1):
            task_id = await asyncio.to_thread(stack.client.create, namespace, "test")
            assert await asyncio.to_thread(started.wait, DEADLINE)
            await asyncio.to_thread(stack.client.cancel, task_id)
            assert await asyncio.to_thread(cancelled.wait, DEADLINE)
            assert (await asyncio.to_thread(stack.client.get, task_id)).status == "cancelled"

    asyncio.run(scenario())


def test_a_handler_that_blocks_the_interpreter_keeps_its_lease(stack: Stack, worker: Any, namespace: str) -> None:
    def block(step: Step[Any]) -> int:
        # PyDLL does not release the lock of the interpreter.
        ctypes.PyDLL(None).sleep(3)
        return step.attempt

    (task,) = run(stack, worker({"block": {"retry": {"limit": 3}}}, {"block": block}, lease=1), namespace, {})
    assert task.step("block").result == 1


def test_a_worker_that_cannot_start_says_why(stack: Stack, worker: Any, namespace: str) -> None:
    with pytest.raises(tasker.StartError, match=f"`{namespace}.missing` \\(step missing of test\\)") as caught:
        asyncio.run(worker({"missing": {}}, {}).start())
    assert caught.value.exit_code == 1
    with pytest.raises(tasker.StartError, match="max_concurrent"):
        asyncio.run(worker({"missing": {}}, {}, max_concurrent=0).start())
    with pytest.raises(ValueError, match="two handlers"):
        worker({}, {"a": print}).add(print, f"{namespace}.a")
    with pytest.raises(ValueError, match="no callable name"):
        Worker(steps=[print])
    assert Worker(namespaces="shop")._options["namespaces"] == ["shop"]


def test_the_status_api_and_the_log(
    stack: Stack, worker: Any, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    new = worker({"noop": {}}, {"noop": lambda step: None})

    async def scenario() -> dict[str, Any]:
        async with new:
            with await asyncio.to_thread(urllib.request.urlopen, f"{new.url}/v1/worker/status") as response:
                status: dict[str, Any] = json.load(response)
            assert status["worker_id"] == new.worker_id
            return status

    status = asyncio.run(scenario())
    assert (status["status"], status["handlers"]) == ("running", [f"{namespace}.noop"])
    (started,) = [record for record in caplog.records if record.getMessage().startswith("worker started")]
    assert started.name == "tasker.runtime.tasker_worker.worker"
    assert started.fields["namespaces"] == namespace  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="not running"):
        _ = new.url


class Records(logging.Handler):
    """Keeps the records of a logger, with the running step."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(tasker.StepFilter())
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_records_of_handlers_name_their_step(stack: Stack, worker: Any, namespace: str) -> None:
    shop, library = logging.getLogger(f"shop.{namespace}"), logging.getLogger("tasker")
    records = Records()
    shop.addHandler(records)
    library.addHandler(records)

    async def in_loop(step: Step[Any]) -> None:
        await asyncio.sleep(0)
        shop.warning("in_loop")
        await asyncio.to_thread(shop.warning, "in_loop")
        assert tasker.current_step() is step

    def in_thread(step: Step[Any]) -> None:
        shop.warning("in_thread")
        raise LookupError("nobody knows")

    async def scenario() -> Task:
        async with worker({"in_loop": {}, "in_thread": {}}, {"in_loop": in_loop, "in_thread": in_thread}):
            task_id = await asyncio.to_thread(lambda: stack.client.create(namespace, "test", traceparent=TRACEPARENT))
            return await asyncio.to_thread(stack.client.wait, task_id, DEADLINE)

    try:
        task = asyncio.run(scenario())
        shop.warning("outside")
    finally:
        library.removeHandler(records)
    assert task.step("in_loop").status == "completed", task
    found = [
        (record.getMessage(), record.task, record.step, record.attempt, record.traceparent)
        for record in records.records
        if not record.name.startswith("tasker.runtime")
    ]
    ours = str(task.task_uuid)
    assert found.count(("in_loop", ours, "in_loop", 1, TRACEPARENT)) == 2, found
    assert ("in_thread", ours, "in_thread", 1, TRACEPARENT) in found
    (failed,) = [rest for message, *rest in found if message.startswith("a handler failed")]
    assert failed == [ours, "in_thread", 1, TRACEPARENT]
    assert ("outside", None, None, None, None) in found
    assert tasker.current_step() is None


PROGRAM = """
import os, sys, threading, time
import tasker

worker = tasker.Worker(
    templates={template!r}, port=0, database_url={database_url!r}, lease=1, shutdown_timeout=0.5
)

@worker.step({callable!r})
def hang(step):
    print("started", flush=True)
    time.sleep(3600)

{end}
"""


def start_program(stack: Stack, path: Path, namespace: str, end: str) -> tuple[subprocess.Popen[str], uuid.UUID]:
    """Start a worker whose handler hangs, and create a task for it."""
    program = PROGRAM.format(template=str(path), database_url=stack.database_url, callable=f"{namespace}.hang", end=end)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(DEADLINE * 10):
        try:
            return process, stack.client.create(namespace, "test")
        except tasker.ApiError as error:
            assert error.status == 404, error
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
    raise AssertionError("the worker did not start")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_worker_although_a_handler_hangs(
    stack: Stack, template: Template, namespace: str, number: signal.Signals
) -> None:
    process, _ = start_program(stack, template(hang={}), namespace, "worker.run()")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, stderr


def test_a_killed_worker_loses_nothing(stack: Stack, template: Template, namespace: str) -> None:
    path = template(hang={"retry": {"limit": 2}})
    process, task_id = start_program(stack, path, namespace, "worker.run()")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()

    async def scenario() -> Task:
        other = Worker(templates=path, port=0, database_url=stack.database_url)
        other.add(lambda step: step.attempt, f"{namespace}.hang")
        async with other:
            return await asyncio.to_thread(stack.client.wait, task_id, DEADLINE)

    task = asyncio.run(scenario())
    assert (task.status, task.step("hang").result) == ("completed", 2), task


def test_a_process_may_exit_without_a_stop(stack: Stack, template: Template, namespace: str) -> None:
    end = """
import asyncio
async def main():
    await worker.start()
    sys.stdin.readline()
asyncio.run(main())
raise LookupError("the end")
"""
    program = start_program_with_input(stack, template, namespace, end)
    assert program.returncode == 1
    assert "LookupError: the end" in program.stderr


def start_program_with_input(
    stack: Stack, template: Template, namespace: str, end: str
) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(
        template=str(template(hang={})), database_url=stack.database_url, callable=f"{namespace}.hang", end=end
    )
    return subprocess.run(
        [sys.executable, "-c", program], input="\n", capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def test_a_worker_cannot_be_used_after_a_fork(stack: Stack, template: Template, namespace: str) -> None:
    # The child exits as programs do, with everything that the library and the interpreter do at an exit.
    end = """
import asyncio
started, done = threading.Event(), threading.Event()
async def run():
    async with worker:
        started.set()
        await asyncio.to_thread(done.wait)
thread = threading.Thread(target=asyncio.run, args=[run()])
thread.start()
started.wait()
child = os.fork()
if child == 0:
    for call in [lambda: worker.url, lambda: asyncio.run(worker.start()), lambda: asyncio.run(worker.stop())]:
        try:
            call()
        except RuntimeError as error:
            print("after a fork" in str(error))
    del worker
    sys.exit(7)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), worker.url.startswith("http://127.0.0.1:"))
done.set()
thread.join()
"""
    program = start_program_with_input(stack, template, namespace, end)
    assert program.stdout.splitlines() == ["True", "True", "True", "7 True"], program
    assert program.returncode == 0, program


def test_handlers_of_one_process_run_side_by_side(stack: Stack, worker: Any, namespace: str) -> None:
    barrier = threading.Barrier(20)

    def meet(step: Step[Any]) -> None:
        barrier.wait(DEADLINE)

    tasks = run(stack, worker({"meet": {}}, {"meet": meet}), namespace, *[{}] * 20)
    assert {task.status for task in tasks} == {"completed"}


def test_threads_are_reused() -> None:
    """The pool reuses its threads."""
    from tasker._threads import Threads

    pool = Threads(4)
    done = threading.Semaphore(0)
    names = set()

    def job() -> None:
        names.add(threading.current_thread().name)
        done.release()

    for _ in range(1000):
        pool.submit(job)
    for _ in range(1000):
        assert done.acquire(timeout=DEADLINE)
    assert len(names) <= 4
    pool.close()


SAMPLE = Path(__file__).parents[1] / "sample" / "python-worker"


def test_another_process_can_ask_for_the_health(stack: Stack, worker: Any, namespace: str) -> None:
    def ask(port: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SAMPLE), "health", "--port", str(port)]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)

    async def scenario() -> None:
        async with worker({"noop": {}}, {"noop": lambda step: None}) as running:
            asked = await asyncio.to_thread(ask, urllib.parse.urlsplit(running.url).port)
            assert (asked.returncode, asked.stderr) == (0, "")

    asyncio.run(scenario())
    asked = ask(1)
    assert asked.returncode == 1
    assert "no response from http://127.0.0.1:1/health" in asked.stderr
    with pytest.raises(tasker.UnhealthyError, match="no response"):
        Worker(port=1).check_health()


def test_the_sample_worker_has_the_options_of_the_others() -> None:
    help_ = subprocess.run(
        [sys.executable, str(SAMPLE), "--help"], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "8083" in help_.stdout
