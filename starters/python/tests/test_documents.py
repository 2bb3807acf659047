"""Sends documents to the API on a real stack: `tasker-cli dev` runs a private PostgreSQL and Tasker's server."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.embedding import embed
from app.main import app


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The API, its worker, and everything that they need."""
    socket = tmp_path_factory.mktemp("redis") / "socket"
    redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""])
    # With a database in DATABASE_URL, it would use that one.
    environment = {**os.environ, "DATABASE_URL": ""}
    command = ["tasker-cli", "dev", "--temporary", "--no-worker", "--port", "0", "--json"]
    tasker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        addresses = announced(tasker)
        wait_for(socket, redis)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATABASE_URL", addresses["database_url"])
            patch.setenv("TASKER_ORCHESTRATION_URL", addresses["orchestration_url"])
            patch.setenv("REDIS_URL", f"unix://{socket}")
            patch.setenv("TASKER_WORKER_PORT", "0")  # a free one
            with TestClient(app) as client:
                yield client
    finally:
        # PostgreSQL stops and its data is removed.
        for process in (tasker, redis):
            process.terminate()
            process.wait()


def announced(tasker: subprocess.Popen[str]) -> dict[str, str]:
    """Returns what `tasker-cli dev --json` prints once everything runs."""
    assert tasker.stdout is not None
    text = ""
    for line in tasker.stdout:
        text += line
        if line.startswith("}"):
            break
    addresses: dict[str, str] = json.loads(text)
    return addresses


def wait_for(socket: Path, redis: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while not socket.exists():
        assert redis.poll() is None and time.monotonic() < deadline, "redis-server does not start"
        time.sleep(0.01)


def test_near_texts_have_near_vectors() -> None:
    def nearness(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(embed(one), embed(other), strict=True))

    assert nearness("green tea", "Tea, green!") == pytest.approx(1)
    assert nearness("green tea", "black tea") > nearness("green tea", "a red mug")


def test_documents_are_embedded_stored_and_found(api: TestClient) -> None:
    texts = ["Tea from Assam is strong.", "A mug holds a third of a litre.", "Green tea from Uji is mild."]
    documents = [api.post("/documents?wait=30", json={"text": text}).json() for text in texts]
    assert [document["status"] for document in documents] == ["completed"] * 3, documents
    assert api.get(f"/documents/{documents[0]['id']}").json() == documents[0]

    found = api.get("/search", params={"query": "mild green tea", "limit": 2}).json()
    assert [document["text"] for document in found] == [texts[2], texts[0]]


def test_bad_requests_are_refused(api: TestClient) -> None:
    assert api.post("/documents", json={"text": ""}).status_code == 422
    assert api.post("/documents", json={}).status_code == 422
    assert api.get("/documents/00000000-0000-0000-0000-000000000000").status_code == 404
