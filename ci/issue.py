"""Keeps one open issue up to date: makes it, or rewrites the one that is open, found by its label and its author.

    python3 ci/issue.py lag.md --label upstream          the first line of the file is the title
    python3 ci/issue.py run.log --label fuzz --log       what follows the title is shown as it is, whatever it is
    python3 ci/issue.py --label upstream --close         all is well again: closes it

It works with GitHub's client, gh, in the repository of the current folder, and touches no issue but those that a
workflow has written.
"""

from __future__ import annotations

import argparse

import report
from report import Problem

# The author of what a workflow writes.
APP = "github-actions"
# What GitHub takes: letters of a title, and of a body; bytes are never fewer than letters.
TITLE = 256
BODY = 65536


def gh(*arguments: str, stdin: str = "", accept: str | None = None) -> str:
    """What gh prints. `accept`: words of a failure that is none."""
    done = report.command(["gh", *arguments], input=stdin)
    if done.returncode != 0 and not (accept and accept in done.stderr):
        raise Problem(f"`gh {' '.join(arguments[:2])}` has failed: {done.stderr.strip()}")
    return done.stdout


def find(label: str) -> str | None:
    """The number of the open issue."""
    command = ["issue", "list", "--app", APP, "--label", label, "--state", "open", "--limit", "1", "--json", "number"]
    listed = report.parse_json(gh(*command), "`gh issue list`")
    try:
        return str(int(listed[0]["number"])) if listed else None
    except (LookupError, TypeError, ValueError) as error:
        raise Problem(f"`gh issue list` did not say what was expected: {error!r}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", metavar="FILE", help="a title, an empty line, Markdown; - is standard input")
    parser.add_argument("--label", required=True, help="the issue's label; it is made if there is none of that name")
    parser.add_argument("--log", action="store_true", help="what follows the title is no Markdown: show it as it is")
    parser.add_argument("--close", action="store_true", help="close the issue")
    arguments = parser.parse_args()
    if bool(arguments.text) == arguments.close:
        raise Problem("give the file with the text, or --close")
    title, body = "", ""
    if arguments.text:
        title, _, body = report.read(arguments.text).replace("\0", "\ufffd").partition("\n")
        title = " ".join(title.split())[:TITLE]
        if not title:
            raise Problem(f"{arguments.text}: its first line, the title, is empty")
        body = report.cut(report.block(body.splitlines()) if arguments.log else body.strip(), BODY)

    number = find(arguments.label)
    if arguments.close:
        if number:
            gh("issue", "close", number, "--comment", "All is well again.")
        print(f"closed issue {number}" if number else "no issue is open")
    elif number:
        # On standard input, because a command line has less room.
        gh("issue", "edit", number, "--title", title, "--body-file", "-", stdin=body)
        print(f"rewrote issue {number}")
    else:
        description = ["--description", "Kept up to date by a workflow"]
        gh("label", "create", arguments.label, *description, accept="already exists")
        command = ["issue", "create", "--title", title, "--label", arguments.label, "--body-file", "-"]
        print(gh(*command, stdin=body).strip())
    return 0


if __name__ == "__main__":
    report.run(main)
