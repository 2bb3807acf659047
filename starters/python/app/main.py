"""The service: its API creates a task for each document, and its worker runs the steps of the tasks.

- ``POST /documents`` creates a task, and ``GET /documents/{id}`` shows it. With ``?wait=SECONDS``, both wait until the
  task is at rest.
- ``GET /search?query=...`` returns the nearest documents.

Both run in this process. It needs Tasker's server, its database, and Redis: see ``process-compose.yaml``.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from tasker import ApiError, Client

from app.index import open_index
from app.steps import Document, create_worker

logger = logging.getLogger("uvicorn.error")

Wait = Annotated[float, Query(ge=0, le=30, description="How long to wait until the task is at rest, in seconds")]


class Shown(BaseModel):
    """A document and its task."""

    id: UUID
    status: str
    steps: dict[str, str]


class Found(BaseModel):
    """A document that a search has found."""

    id: UUID
    text: str
    distance: float


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Runs the worker as long as the API. At the end, both finish what they have begun."""
    redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
    async with open_index(os.environ["DATABASE_URL"], redis_url) as index, create_worker(index):
        yield {"index": index}


app = FastAPI(title="tasker-starter", lifespan=lifespan)


def tasker() -> Client:
    """A client of Tasker's server."""
    url = os.environ.get("TASKER_ORCHESTRATION_URL", "http://127.0.0.1:8080")
    return Client(url, api_key=os.environ.get("TASKER_API_KEY"))


@app.exception_handler(ApiError)
def refused(_: Request, error: ApiError) -> JSONResponse:
    """Passes on the caller's mistakes: an unknown document, or one that does not fit the template's `input_schema`."""
    if error.status in (404, 422):
        return JSONResponse({"detail": error.problem.get("detail")}, error.status)
    logger.error("Tasker's server did not do what it was asked: %s", error)
    return JSONResponse({"detail": "try again later"}, 503)


@app.get("/health")
async def health() -> str:
    return "ok"


# A plain function runs in a thread, so it may wait.
@app.post("/documents", status_code=201)
def create(document: Document, wait: Wait = 0, idempotency_key: Annotated[str | None, Header()] = None) -> Shown:
    # A client that repeats a request with the same key gets the same document.
    id = tasker().create("tasker_starter", "document", document, idempotency_key=idempotency_key)
    return show(id, wait)


@app.get("/documents/{id}")
def show(id: UUID, wait: Wait = 0) -> Shown:
    try:
        task = tasker().wait(id, timeout=wait)
    except TimeoutError:
        task = tasker().get(id)
    return Shown(id=id, status=task.status, steps={step.name: step.status for step in task.steps})


@app.get("/search")
async def search(query: str, request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> list[Found]:
    found = await request.state.index.search(query, limit)
    return [Found(id=id, text=text, distance=distance) for id, text, distance in found]
