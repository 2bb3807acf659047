"""Threads for handlers that are not ``async``."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Threads:
    """A pool that starts threads when it needs them, up to a limit.

    They are daemon threads, unlike those of ``concurrent.futures``, so that a handler that hangs does not keep the
    process alive.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._started = 0
        self._idle = threading.Semaphore(0)
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def submit(self, job: Callable[[], object]) -> None:
        """Run a job, which must not raise, in a thread. Call it from one thread only."""
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._started < self._limit:
            self._started += 1
            threading.Thread(target=self._work, name=f"tasker-handler-{self._started}", daemon=True).start()

    def close(self) -> None:
        """End the threads that have nothing to do, and the others after their jobs."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            self._idle.release()
