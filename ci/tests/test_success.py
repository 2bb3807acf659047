"""No failed, cancelled or forgotten job counts as a success."""

import json
import unittest
from typing import Any

import success
from report import Problem
from success import judge
from tests.program import run


def plan(**jobs: bool) -> dict[str, Any]:
    return {"jobs": {job: {"needed": needed, "why": "because"} for job, needed in jobs.items()}}


def needs(planner: str = "success", **jobs: str) -> dict[str, Any]:
    return {job: {"result": result, "outputs": {}} for job, result in {"plan": planner, **jobs}.items()}


class Judgement(unittest.TestCase):
    # Whether the job is needed (None: not in the plan), its result (None: missing), whether that is good, and the text.
    CASES = [
        (True, "success", True, "success"),
        (True, "failure", False, "failure"),
        (True, "cancelled", False, "cancelled"),
        (True, "skipped", False, "skipped"),
        (False, "skipped", True, "not needed"),
        (False, "success", True, "success, although not needed"),
        (False, "failure", False, "failure, although not needed"),
        (False, "cancelled", False, "cancelled, although not needed"),
        (None, "success", False, "success"),
        (True, None, False, "unknown"),
        (False, None, False, "unknown"),
    ]

    def test_one_job(self) -> None:
        for needed, result, good, text in self.CASES:
            with self.subTest(f"{needed} {result}"):
                planned = plan(other=True, **({} if needed is None else {"job": needed}))
                outcomes = needs(other="success", **({} if result is None else {"job": result}))
                verdicts = {verdict.job: verdict for verdict in judge(planned, outcomes, "plan")}
                self.assertEqual((verdicts["job"].good, verdicts["job"].text), (good, text))
                self.assertTrue(verdicts["other"].good)

    def test_without_a_plan_nothing_is_good(self) -> None:
        for planner in ("failure", "cancelled", "skipped"):
            with self.subTest(planner):
                self.assertFalse(any(verdict.good for verdict in judge({}, needs(planner, job="skipped"), "plan")))

    def test_bad_input(self) -> None:
        cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
            ({}, needs(job="success"), "plan: has no jobs"),
            ({"jobs": {"job": {}}}, needs(job="skipped"), "plan: job job: `needed` must be"),
            ({"jobs": {"job": {"needed": "no"}}}, needs(job="skipped"), "plan: job job: `needed` must be"),
            (plan(job=True), {}, "job plan, which makes the plan, is missing"),
            (plan(job=True), needs(job="fine"), "job job: result 'fine'"),
            (plan(job=True), {"plan": "success"}, "job plan: result None"),
        ]
        for planned, outcomes, message in cases:
            with self.subTest(message), self.assertRaisesRegex(Problem, message):
                judge(planned, outcomes, "plan")


class TheProgram(unittest.TestCase):
    CASES = [
        (json.dumps(plan(job=False)), json.dumps(needs(job="skipped")), 0, "because"),
        (json.dumps(plan(job=True)), json.dumps(needs(job="failure")), 1, "Failed: job."),
        ("", json.dumps(needs("failure", job="skipped")), 1, "Failed: plan, job."),
        ("{", "{}", 2, "$PLAN: is not JSON"),
        ("{}", "[]", 2, "$NEEDS: is not a JSON object"),
        ("{}", "[" * 100000, 2, "$NEEDS: is nested too deeply"),
        ("{}", '{"a": 1' + "0" * 10000 + "}", 2, "$NEEDS: is not JSON"),
        ("{}", '{"plan": {"result": "failure", "result": "success"}}', 2, "duplicate key 'result'"),
        (json.dumps(plan(**{"\ud800": True})), json.dumps(needs(**{"\ud800": "success"})), 0, "| \\ud800 "),
        ("{}", None, 2, "NEEDS is not set"),
    ]

    def test_exit_codes(self) -> None:
        for planned, outcomes, code, text in self.CASES:
            with self.subTest(text):
                variables = {"PLAN": planned} | ({} if outcomes is None else {"NEEDS": outcomes})
                done = run(success.__file__, variables=variables)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(text, done.stdout + done.stderr)
                self.assertNotIn("Traceback", done.stderr)
