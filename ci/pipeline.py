"""Runs the pipeline of ci.yml on this machine.

    python3 ci/pipeline.py                       plans the change since main, runs the jobs that it needs, one by one
    python3 ci/pipeline.py --base HEAD^          plans the change since another commit
    python3 ci/pipeline.py --list                shows the plan, and the commands of every job; runs nothing
    python3 ci/pipeline.py --job code-quality    runs one job, whatever the change needs; the workflows call this

The rules of the plan are in ci/paths.toml, the commands in ci/jobs.toml. The result is the table of the aggregate job.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import plan
import report
import success
from report import Problem

ROOT = Path(__file__).parent.parent
JOBS = Path(__file__).with_name("jobs.toml")
# The first one that git knows is the default base.
BASES = ["origin/main", "main"]


@dataclass
class Step:
    name: str
    run: str | None = None
    nix: str | None = None
    tools: tuple[str, ...] = ()

    def command(self, nix: bool) -> str | None:
        """The command for bash, with or without Nix. None: the step cannot run without Nix."""
        if nix and self.nix:
            return self.nix
        if nix and self.run and self.tools:
            packages = " ".join(f"nixpkgs#{tool}" for tool in self.tools)
            return f"nix shell --inputs-from . {packages} --command bash -euo pipefail -c {shlex.quote(self.run)}"
        return self.run


@dataclass
class Outcome:
    step: Step
    good: bool
    seconds: float


def parse(text: str, source: str) -> dict[str, list[Step]]:
    """The steps of each job."""
    jobs = {}
    for job, entries in report.parse_toml(text, source).items():
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Problem(f"{source}: {job}: expected steps as [[{job}]] tables")
        jobs[job] = [_step(entry, f"{source}: {job}, step {number}") for number, entry in enumerate(entries, 1)]
    return jobs


def _step(entry: dict[str, object], where: str) -> Step:
    if unknown := sorted(set(entry) - {"name", "run", "nix", "tools"}):
        raise Problem(f"{where}: unknown {', '.join(unknown)}; known are name, run, nix, tools")
    name, run, nix, tools = (entry.get(key) for key in ("name", "run", "nix", "tools"))
    if not isinstance(name, str):
        raise Problem(f"{where}: has no name")
    if not all(command is None or isinstance(command, str) for command in (run, nix)) or not (run or nix):
        raise Problem(f"{where}: expected a command as run, nix or both")
    if tools is not None and (not isinstance(tools, list) or not all(isinstance(tool, str) for tool in tools)):
        raise Problem(f"{where}: tools: expected a list of packages")
    return Step(name, run, nix, tuple(tools or ()))  # type: ignore[arg-type]


def run_job(job: str, steps: list[Step], nix: bool, variables: Mapping[str, str]) -> list[Outcome]:
    """Runs every step, also after one that failed. The output goes to the terminal."""
    outcomes = []
    on_github = "GITHUB_ACTIONS" in os.environ
    for step in steps:
        line = step.command(nix)
        print(f"{'::group::' if on_github else '=== '}{job}: {step.name}", flush=True)
        started = time.monotonic()
        if line is None:
            print(f"needs Nix, which is not installed; to leave the job out: --without {job}", file=sys.stderr)
            good = False
        else:
            print(f"$ {line}", flush=True)
            bash = ["bash", "-euo", "pipefail", "-c", line]
            done = report.command(bash, cwd=ROOT, env={**os.environ, **variables}, stdout=None, stderr=None)
            good = done.returncode == 0
        outcomes.append(Outcome(step, good, time.monotonic() - started))
        if on_github:
            print("::endgroup::")
        print(f"--- {job}: {step.name}: {_result(outcomes[-1])} in {outcomes[-1].seconds:.0f} s\n", flush=True)
    return outcomes


def _result(outcome: Outcome) -> str:
    return "success" if outcome.good else "failure"


def show_steps(outcomes: list[Outcome]) -> bool:
    """Shows how the steps ended. Returns whether all succeeded."""
    rows = [("" if o.good else "✗", o.step.name, _result(o), f"{o.seconds:.0f} s") for o in outcomes]
    report.show(report.table(("", "step", "result", "time"), rows))
    return all(outcome.good for outcome in outcomes)


def default_base() -> str:
    for base in BASES:
        if report.command(["git", "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"], cwd=ROOT).returncode == 0:
            return base
    raise Problem(f"git knows none of {', '.join(BASES)}: give the commit to compare with as --base")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--base", metavar="REVISION", help="compare with this commit (default: origin/main, else main)")
    what.add_argument("--job", metavar="JOB", help="run this job alone, without a plan")
    parser.add_argument("--list", action="store_true", help="show the jobs and their commands, and run nothing")
    parser.add_argument("--plain", action="store_true", help="do not use Nix, even if it is on the PATH")
    parser.add_argument("--label", action="append", default=[], help="plan as if the pull request had this label")
    parser.add_argument("--without", action="append", default=[], metavar="JOB", help="leave this job out")
    parser.add_argument("--jobs", metavar="FILE", default=str(JOBS), help="the commands (default: ci/jobs.toml)")
    parser.add_argument("--rules", metavar="FILE", default=str(plan.RULES), help="the rules (default: ci/paths.toml)")
    arguments = parser.parse_args()

    nix = not arguments.plain and shutil.which("nix") is not None
    jobs = parse(report.read(arguments.jobs), arguments.jobs)
    if arguments.job is not None:
        if arguments.job not in jobs:
            raise Problem(f"--job {arguments.job}: no such job; there are {', '.join(jobs)}")
        if arguments.list:
            report.show(list_steps({arguments.job: jobs[arguments.job]}, nix))
            return 0
        return 0 if show_steps(run_job(arguments.job, jobs[arguments.job], nix, {})) else 1

    rules = plan.parse_rules(report.read(arguments.rules), arguments.rules)
    if set(rules.jobs) != set(jobs):
        different = ", ".join(sorted(set(rules.jobs) ^ set(jobs)))
        raise Problem(f"{arguments.rules} and {arguments.jobs} do not have the same jobs: {different}")
    os.chdir(ROOT)
    change = plan.between(plan.commit(arguments.base or default_base()))
    change.labels += arguments.label
    change.without += arguments.without
    decisions = plan.decide(rules, change)
    report.show(plan.table(decisions))
    if arguments.list:
        report.show(list_steps(jobs, nix))
        return 0

    base = {"BASE": change.base or "HEAD^"}
    results = {"plan": "success"}
    for job, decision in decisions.items():
        if decision.needed:
            outcomes = run_job(job, jobs[job], nix, base)
            results[job] = "success" if all(outcome.good for outcome in outcomes) else "failure"
        else:
            results[job] = "skipped"
    needs = {job: {"result": result} for job, result in results.items()}
    return success.show(success.judge({"jobs": {job: vars(d) for job, d in decisions.items()}}, needs, "plan"))


def list_steps(jobs: Mapping[str, list[Step]], nix: bool) -> str:
    rows = [(job, step.name, step.command(nix) or "needs Nix") for job, steps in jobs.items() for step in steps]
    return report.table(("job", "step", "command"), rows)


if __name__ == "__main__":
    report.run(main)
