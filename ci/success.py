"""The single result of a CI run. It fails if a job that the change needs did not succeed.

It reads the plan that ci/plan.py made and the results of the jobs (GitHub's `needs` as JSON), from the environment
variables PLAN and NEEDS or from files. It prints which jobs ran, which did not, and why:

    python3 ci/success.py --plan plan.json --needs needs.json
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Any

import report
from report import Problem

RESULTS = ("success", "failure", "cancelled", "skipped")


@dataclass
class Verdict:
    job: str
    good: bool
    text: str
    why: str


def judge(plan: dict[str, Any], needs: dict[str, Any], planner: str) -> list[Verdict]:
    """Returns one verdict per job. `planner` is the job that made the plan. The plan must list exactly the others."""
    results = {}
    for job, outcome in needs.items():
        result = outcome.get("result") if isinstance(outcome, dict) else None
        if result not in RESULTS:
            raise Problem(f"needs: job {job}: result {result!r}; expected one of {', '.join(RESULTS)}")
        results[job] = result
    if planner not in results:
        raise Problem(f"needs: job {planner}, which makes the plan, is missing")

    planned = results.pop(planner)
    verdicts = [Verdict(planner, planned == "success", planned, "always needed")]
    if planned != "success":
        # Without a plan, a skipped job may have been needed.
        return verdicts + [Verdict(job, False, result, "there is no plan") for job, result in results.items()]

    decisions = plan.get("jobs")
    if not isinstance(decisions, dict) or not decisions:
        raise Problem("plan: has no jobs")
    for job, decision in decisions.items():
        if not isinstance(decision, dict) or not isinstance(decision.get("needed"), bool):
            raise Problem(f"plan: job {job}: `needed` must be true or false")
    for job in [*decisions, *(job for job in results if job not in decisions)]:
        decision = decisions.get(job)
        result = results.get(job)
        if decision is None:
            verdicts.append(Verdict(job, False, str(result), "not in the plan: add it to ci/paths.toml"))
        elif result is None:
            verdicts.append(
                Verdict(job, False, "unknown", "ci-success does not wait for it: add it to its needs in ci.yml")
            )
        elif decision["needed"]:
            verdicts.append(Verdict(job, result == "success", result, str(decision.get("why", ""))))
        else:
            text = "not needed" if result == "skipped" else f"{result}, although not needed"
            verdicts.append(Verdict(job, result in ("skipped", "success"), text, str(decision.get("why", ""))))
    return verdicts


def show(verdicts: list[Verdict]) -> int:
    """Shows the table of all jobs. Returns the exit code."""
    bad = [verdict.job for verdict in verdicts if not verdict.good]
    rows = [("" if v.good else "✗", v.job, v.text, v.why) for v in verdicts]
    report.show(report.table(("", "job", "result", "why it was needed or not"), rows))
    report.show(f"Failed: {', '.join(bad)}." if bad else "Every job that this change needs has succeeded.")
    return 1 if bad else 0


def document(path: str | None, variable: str) -> dict[str, Any]:
    """Reads a JSON object from a file, else from an environment variable. An empty variable is an empty object."""
    where = path or f"${variable}"
    text = report.read(path) if path else os.environ.get(variable)
    if text is None:
        raise Problem(f"{variable} is not set: set it, or name the file")
    value = report.parse_json(text or "{}", where)
    if not isinstance(value, dict):
        raise Problem(f"{where}: is not a JSON object")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", metavar="FILE", help="the plan (default: $PLAN)")
    parser.add_argument("--needs", metavar="FILE", help="the results (default: $NEEDS)")
    parser.add_argument("--planner", metavar="JOB", default="plan", help="the job that made the plan (default: plan)")
    arguments = parser.parse_args()

    return show(judge(document(arguments.plan, "PLAN"), document(arguments.needs, "NEEDS"), arguments.planner))


if __name__ == "__main__":
    report.run(main)
