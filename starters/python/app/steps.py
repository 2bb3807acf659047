"""The steps of a document. A handler may run more than once, so what it does elsewhere must be the same if repeated."""

from dataclasses import dataclass

from tasker import Step, Worker

from app.index import Index


@dataclass
class Document:
    """The input of the task."""

    text: str


def create_worker(index: Index) -> Worker:
    """Creates a worker for the steps of ``templates/document.yaml``. Its database is in ``DATABASE_URL``."""
    worker = Worker(templates="templates")

    @worker.step("tasker_starter.embed")
    async def embed(step: Step[Document]) -> list[float]:
        return await index.embed(step.input.text)

    @worker.step("tasker_starter.store")
    async def store(step: Step[Document]) -> dict[str, str]:
        await index.store(step.task_id, step.input.text, step.result("embed", list[float]))
        return {"document": str(step.task_id)}

    return worker
