"""The client against a real server and its OpenAPI document."""

from __future__ import annotations

import dataclasses
import json
import urllib.request
import uuid

import pytest

import tasker
from conftest import Stack
from tasker import Client, Task, TaskStep


def test_the_client_fits_the_document_of_the_api(stack: Stack) -> None:
    with urllib.request.urlopen(f"{stack.url}/openapi.json") as response:
        document = json.load(response)
    paths, schemas = document["paths"], document["components"]["schemas"]

    def properties(schema: dict[str, object]) -> set[str]:
        if "$ref" in schema:
            return properties(schemas[str(schema["$ref"]).rsplit("/", 1)[-1]])
        found = set(schema.get("properties", {}))  # type: ignore[call-overload]
        for part in [*schema.get("allOf", []), *schema.get("oneOf", [])]:  # type: ignore[misc]
            found |= properties(part)
        return found

    create = paths["/v1/tasks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    sent = {"namespace", "name", "version", "context", "idempotency_key", "priority", "tags"}
    assert sent <= properties(create)
    get = paths["/v1/tasks/{task_uuid}"]["get"]
    assert "wait" in {parameter["name"] for parameter in get["parameters"]}
    cancel = paths["/v1/tasks/{task_uuid}/cancel"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "reason" in properties(cancel)
    assert {field.name for field in dataclasses.fields(Task)} <= properties(schemas["TaskDetail"])
    assert {field.name for field in dataclasses.fields(TaskStep)} <= properties(schemas["StepDetail"])


def test_tasks_are_created_once_and_cancelled(stack: Stack) -> None:
    client = stack.client
    key = uuid.uuid4().hex
    task_id = client.create("linear_workflow", "mathematical_sequence", {"even_number": 6}, idempotency_key=key)
    again = client.create("linear_workflow", "mathematical_sequence", {"even_number": 6}, idempotency_key=key)
    assert task_id == again
    task = client.wait(task_id, 30)
    assert (task.status, task.step("linear_step_4").result) == ("completed", {"value": 2821109907456})
    with pytest.raises(KeyError):
        task.step("other")
    with pytest.raises(tasker.ApiError, match="409") as caught:
        client.cancel(task_id, reason="too late")
    assert caught.value.status == 409
    assert caught.value.problem["status"] == 409


def test_errors_say_what_is_wrong(stack: Stack) -> None:
    with pytest.raises(tasker.ApiError, match="404") as caught:
        stack.client.get(uuid.uuid4())
    assert caught.value.status == 404
    with pytest.raises(tasker.ApiError, match=r"no response from 127\.0\.0\.1:1") as caught:
        Client("http://127.0.0.1:1").get(uuid.uuid4())
    assert caught.value.status == 0
    for url in [
        "localhost:8080",
        "http://",
        "http://:8080",
        "http://host:eighty",
        "http://ada:secret@host",
        "ftp://host",
    ]:
        with pytest.raises(ValueError, match="is not the URL"):
            Client(url)
    with pytest.raises(ValueError, match="JSON"):
        stack.client.create("a", "b", {"number": float("nan")})
