"""Plans which jobs a change needs, and why, by the rules in ci/paths.toml.

    python3 ci/plan.py --base main              plans everything that changed since the branch left main
    git diff --name-only -z | python3 ci/plan.py --files -
    python3 ci/plan.py --event push --payload event.json        as in ci.yml

Prints a table. --json prints the plan in the form that the workflows read.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import report
from report import Problem

RULES = Path(__file__).with_name("paths.toml")
NO_COMMIT = "0" * 40


@dataclass
class Rule:
    name: str
    patterns: list[re.Pattern[str]]
    jobs: list[str]


@dataclass
class Rules:
    jobs: list[str]
    # Maps a label of a pull request to the jobs that it requests.
    labels: dict[str, list[str]]
    # The jobs that every change needs.
    always: list[str]
    rules: list[Rule]

    def match(self, path: str) -> Rule | None:
        """Returns the first rule that matches the file."""
        return next((rule for rule in self.rules if any(p.fullmatch(path) for p in rule.patterns)), None)


@dataclass
class Decision:
    needed: bool
    why: str


@dataclass
class Change:
    """A change to plan for. `files` is None if the changed files are unknown. Then every job is needed."""

    files: list[str] | None
    # Why the files are unknown.
    reason: str = ""
    labels: list[str] = field(default_factory=list)
    # The jobs that the person who started the run excluded.
    without: list[str] = field(default_factory=list)
    # The commit to compare with, if there is one.
    base: str = ""


def pattern(glob: str) -> re.Pattern[str]:
    """Translates a glob. `*` and `?` match within one folder, `**` matches across folders."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return re.compile("".join(parts.get(token) or re.escape(token) for token in tokens), re.DOTALL)


def parse_rules(text: str, source: str) -> Rules:
    """Parses a rule file. Rejects mistakes that would skip a job."""
    data = report.parse_toml(text, source)
    _only_keys(data, {"jobs", "rule"}, source)
    jobs = data.get("jobs")
    if not isinstance(jobs, dict) or not jobs:
        raise Problem(f"{source}: has no [jobs]")
    labels: dict[str, list[str]] = {}
    for job, options in jobs.items():
        if not isinstance(options, dict):
            raise Problem(f"{source}: job {job}: expected a table, for example {{}}")
        _only_keys(options, {"label", "always"}, f"{source}: job {job}")
        if not isinstance(options.get("always", False), bool):
            raise Problem(f"{source}: job {job}: always: expected true or false")
        if "label" in options:
            labels.setdefault(str(options["label"]), []).append(job)
    listed = data.get("rule", [])
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise Problem(f"{source}: expected rules as [[rule]] tables")
    rules = []
    for number, entry in enumerate(listed, 1):
        where = f"{source}: rule {number} ({entry.get('name', 'without a name')})"
        _only_keys(entry, {"name", "paths", "jobs"}, where)
        if not isinstance(entry.get("name"), str):
            raise Problem(f"{where}: has no name")
        globs, wanted = _words(entry, "paths", where), _words(entry, "jobs", where)
        if unknown := [job for job in wanted if job not in jobs]:
            raise Problem(f"{where}: {', '.join(unknown)}: no such job in [jobs]")
        rules.append(Rule(entry["name"], [pattern(glob) for glob in globs], wanted))
    always = [job for job, options in jobs.items() if options.get("always")]
    return Rules(list(jobs), labels, always, rules)


def _only_keys(entry: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(entry) - known):
        raise Problem(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _words(entry: dict[str, Any], key: str, where: str) -> list[str]:
    words = entry.get(key)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Problem(f"{where}: {key}: expected a list of strings")
    return words


def decide(rules: Rules, change: Change) -> dict[str, Decision]:
    """Decides for every job whether it is needed, and gives the reason, such as the first file that needs it."""
    reasons: dict[str, str] = {}
    if change.files is None:
        reasons = dict.fromkeys(rules.jobs, change.reason)
    for path in change.files or []:
        rule = rules.match(path)
        for job in rule.jobs if rule else rules.jobs:
            reasons.setdefault(job, f"{path} ({rule.name if rule else 'no rule matches it'})")
    for label in change.labels:
        for job in rules.labels.get(label, []):
            reasons.setdefault(job, f"label {label}")
    for job in rules.always:
        reasons.setdefault(job, "always needed")
    if unknown := [job for job in change.without if job not in rules.jobs]:
        raise Problem(f"--without {' '.join(unknown)}: no such job; there are {', '.join(rules.jobs)}")
    decisions = {}
    for job in rules.jobs:
        if job in change.without:
            decisions[job] = Decision(False, "left out on request")
        elif job in reasons:
            decisions[job] = Decision(True, reasons[job])
        else:
            count = len(change.files or [])
            decisions[job] = Decision(
                False, f"none of the {count} changed files needs it" if count else "nothing has changed"
            )
    return decisions


def table(decisions: dict[str, Decision]) -> str:
    rows = [(job, "needed" if decision.needed else "not needed", decision.why) for job, decision in decisions.items()]
    return report.table(("job", "plan", "why"), rows)


def changed_files(*revisions: str) -> list[str] | None:
    """Returns the files that differ. A moved file counts under both names. None: git does not know a commit."""
    command = ["git", "diff", "--name-only", "--no-renames", "-z", *revisions, "--"]
    # A name that is not UTF-8 is shown with escaped bytes. A rule for its whole folder still matches it.
    done = report.command(command)
    if done.returncode != 0:
        print(f"{' '.join(command)}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return split(done.stdout)


def split(text: str) -> list[str]:
    """Splits file names that end with NUL (`git diff -z`), else one per line."""
    return [name for name in text.split("\0" if "\0" in text else "\n") if name]


def between(base: str, head: str | None = None) -> Change:
    """What changed between two commits. Without `head`: what changed in the work tree since it left `base`."""
    files = changed_files(base, head) if head else changed_files("--merge-base", base)
    return Change(files, reason=f"git cannot compare with {base}", base="" if files is None else base)


def from_event(name: str, payload: Any) -> Change:
    """Returns the change of the event that started a run on GitHub."""
    try:
        match name:
            case "pull_request":
                # The checked-out commit merges the change into its base, which is the first parent.
                change = between("HEAD^1", "HEAD")
                if change.base:
                    change.base = commit(change.base)
                change.labels = [str(label["name"]) for label in payload["pull_request"]["labels"]]
                return change
            case "merge_group":
                group = payload["merge_group"]
                return between(_hash(group, "base_sha"), _hash(group, "head_sha"))
            case "push":
                if payload["before"] == NO_COMMIT:
                    return Change(None, reason="the branch is new")
                return between(_hash(payload, "before"), _hash(payload, "after"))
            case "workflow_dispatch":
                wants = (payload.get("inputs") or {}).get("containers", "true")
                without = [] if str(wants).lower() == "true" else ["test-containers"]
                return Change(None, reason="started by hand", without=without)
            case _:
                return Change(None, reason=f"started by {name}")
    except (KeyError, TypeError, AttributeError) as error:
        raise Problem(f"unexpected payload of event {name}: {error!r}") from error


def _hash(entry: Any, key: str) -> str:
    """Reads a commit from a payload. Git could interpret anything but a hash as an option or as a path."""
    value = entry[key]
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{40,64}", value):
        raise TypeError(f"{key} is {value!r}, which is not the hash of a commit")
    return value


def commit(revision: str) -> str:
    """Resolves a revision to the hash of a commit."""
    done = report.command(["git", "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"])
    if done.returncode != 0:
        raise Problem(f"git knows no commit {revision!r}: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--base",
        metavar="REVISION",
        help="plan for the changes since HEAD left this revision, committed or not (new files: once git tracks them)",
    )
    what.add_argument(
        "--files",
        metavar="FILE",
        help="plan for the files listed in FILE, one per line or each ended by NUL; - is standard input",
    )
    what.add_argument("--event", metavar="NAME", help="plan for the GitHub event with this name")
    parser.add_argument(
        "--payload",
        metavar="FILE",
        default=os.environ.get("GITHUB_EVENT_PATH"),
        help="the event's JSON (default: $GITHUB_EVENT_PATH)",
    )
    parser.add_argument("--label", action="append", default=[], help="plan as if the pull request had this label")
    parser.add_argument("--without", action="append", default=[], metavar="JOB", help="leave this job out")
    parser.add_argument("--rules", default=str(RULES), metavar="FILE", help="the rule file (default: ci/paths.toml)")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON and no table")
    arguments = parser.parse_args()

    rules = parse_rules(report.read(arguments.rules), arguments.rules)
    if arguments.base is not None:
        change = between(commit(arguments.base))
    elif arguments.files is not None:
        change = Change(split(report.read(arguments.files)))
    elif not arguments.payload:
        raise Problem("--event needs --payload or GITHUB_EVENT_PATH")
    else:
        change = from_event(arguments.event, report.parse_json(report.read(arguments.payload), arguments.payload))
    change.labels += arguments.label
    change.without += arguments.without
    decisions = decide(rules, change)

    plan = json.dumps({"base": change.base, "jobs": {job: vars(decision) for job, decision in decisions.items()}})
    report.output("plan", plan)
    if arguments.json:
        print(plan)
    else:
        report.show(table(decisions))
    return 0


if __name__ == "__main__":
    report.run(main)
