"""Lists the advisories that affect our dependencies, with cargo-deny. deny.toml lists the exceptions.

    python3 ci/advisories.py                     prints a table with what to do
    python3 ci/advisories.py --issue issue.md    also writes the text of an issue, if there is an advisory

cargo-deny exits with 1 for an advisory, and also if it cannot reach the database. So this program reads its output: the
check ran only if the output ends with a summary, and then every error must be an advisory that the output names.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import report
from report import Problem

ROOT = Path(__file__).parent.parent
COMMAND = ["cargo", "deny", "--color", "never", "--format", "json", "check", "advisories"]
# Codes of cargo-deny's diagnostics: findings, and failures to check whether a crate was yanked.
FOUND = {"vulnerability", "notice", "unmaintained", "unsound", "yanked"}
UNSEEN = {"index-failure", "index-cache-load-failure"}


@dataclass
class Advisory:
    crate: str
    id: str
    title: str
    todo: str


@dataclass
class Answer:
    advisories: list[Advisory] = field(default_factory=list)
    # What it could not check, and its remarks.
    unseen: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def parse(text: str, code: int) -> Answer:
    """Parses the output of cargo-deny: one JSON object per line, mixed with lines of cargo."""
    answer, errors, named, complaints = Answer(), None, 0, []
    try:
        for line in filter(None, map(str.strip, text.splitlines())):
            if not line.startswith("{"):
                complaints.append(line)
                continue
            said = report.parse_json(line, "cargo deny")
            kind, fields = said["type"], said["fields"]
            if kind == "summary":
                errors = fields["advisories"]["errors"]
            elif kind == "log":
                complaints.append(fields["message"])
            elif kind == "diagnostic":
                named += fields["severity"] == "error"
                complaints.append(fields["message"])
                _sort(fields, answer)
    except (LookupError, TypeError, AttributeError) as error:
        raise Problem(f"unexpected output of `{' '.join(COMMAND)}`: {error!r}") from error
    if errors is None and any("no such command" in line for line in complaints):
        raise Problem("cargo-deny is not installed: `cargo install --locked cargo-deny`, or `nix develop`")
    if errors is None:
        why = "; ".join(map(report.one_line, complaints)) or "no output"
        raise Problem(f"`{' '.join(COMMAND)}` could not check (exit code {code}): {why}")
    if named != errors or code != (1 if errors else 0):
        raise Problem(f"`{' '.join(COMMAND)}` counted {errors} errors, named {named}, and exited with {code}")
    return answer


def _sort(fields: dict[str, Any], answer: Answer) -> None:
    """Adds a diagnostic to the list that it belongs to."""
    code, message, notes = fields.get("code"), fields["message"], fields.get("notes", [])
    if code in FOUND:
        crate = fields["graphs"][0]["Krate"]
        name = f"{crate['name']} {crate['version']}"
        todo = next((note.removeprefix("Solution: ") for note in notes if note.startswith("Solution: ")), None)
        if fields["severity"] == "error":
            id = fields["advisory"]["id"] if "advisory" in fields else code
            answer.advisories.append(Advisory(name, id, message, todo or f"cargo update --package {crate['name']}"))
        else:
            answer.remarks.append(f"{name}: {message}")
    elif code in UNSEEN or fields["severity"] == "error":
        answer.unseen.append(f"{message}: {'; '.join(notes)}")
    else:
        answer.remarks.append(": ".join([message, *(label["span"] for label in fields.get("labels", []))]))


def text(answer: Answer) -> str:
    """The report. Its first line is the title of an issue."""
    rows = [(advisory.crate, advisory.id, advisory.title, advisory.todo) for advisory in answer.advisories]
    crates = sorted({advisory.crate for advisory in answer.advisories})
    return (
        f"Advisories: {', '.join(crates)}\n\n{report.table(('crate', 'id', 'title', 'what to do'), rows)}\n"
        "If no newer version helps, replace the crate, or add an exception with its reason to deny.toml. Details\n"
        "of an advisory are at https://rustsec.org/advisories. To see this table again: `python3 ci/advisories.py`.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--issue", metavar="FILE", help="write the text of an issue: a title, an empty line, Markdown")
    arguments = parser.parse_args()

    done = report.command(COMMAND, cwd=ROOT)
    answer = parse(done.stderr, done.returncode)
    unseen = sorted(set(answer.unseen))
    if unseen and not answer.advisories:
        raise Problem(f"cargo deny could not check everything: {report.one_line('; '.join(unseen))}")
    written = text(answer) if answer.advisories else "No advisories.\n"
    for line in sorted(set(answer.remarks)):
        written += f"\nRemark: {report.one_line(line)}\n"
    for line in unseen:
        written += f"\nNot checked: {report.one_line(line)}\n"
    report.show(written)
    if arguments.issue and answer.advisories:
        report.write(arguments.issue, written)
    return 1 if answer.advisories else 0


if __name__ == "__main__":
    report.run(main)
