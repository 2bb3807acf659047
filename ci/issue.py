"""Keeps one open issue up to date: creates it, or updates the open issue with the same label and author.

    python3 ci/issue.py lag.md --label upstream          the first line of the file is the title
    python3 ci/issue.py run.log --label fuzz --log       the text after the title is shown verbatim
    python3 ci/issue.py --label upstream --close         closes the issue, because the check passes again

It uses GitHub's client, gh, in the repository of the current folder. It never changes an issue that a person created.
"""

from __future__ import annotations

import argparse

import report
from report import Problem

# The author of the issues that workflows create.
APP = "github-actions"
# GitHub's limits, in characters. The code counts bytes, which are never fewer.
TITLE = 256
BODY = 65536


def gh(*arguments: str, stdin: str = "", accept: str | None = None) -> str:
    """Returns the output of gh. `accept`: text in the error output that marks a failure as success."""
    done = report.command(["gh", *arguments], input=stdin)
    if done.returncode != 0 and not (accept and accept in done.stderr):
        raise Problem(f"`gh {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
    return done.stdout


def find(label: str) -> str | None:
    """The number of the open issue."""
    command = ["issue", "list", "--app", APP, "--label", label, "--state", "open", "--limit", "1", "--json", "number"]
    listed = report.parse_json(gh(*command), "`gh issue list`")
    try:
        return str(int(listed[0]["number"])) if listed else None
    except (LookupError, TypeError, ValueError) as error:
        raise Problem(f"`gh issue list` printed unexpected output: {error!r}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "text", nargs="?", metavar="FILE", help="a title, an empty line, and Markdown; - is standard input"
    )
    parser.add_argument("--label", required=True, help="the label of the issue; it is created if it does not exist")
    parser.add_argument("--log", action="store_true", help="show the text after the title verbatim, not as Markdown")
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
            gh("issue", "close", number, "--comment", "The check passes again.")
        print(f"closed issue {number}" if number else "there is no open issue")
    elif number:
        # On standard input, because the length of a command line is limited.
        gh("issue", "edit", number, "--title", title, "--body-file", "-", stdin=body)
        print(f"updated issue {number}")
    else:
        description = ["--description", "Kept up to date by a workflow"]
        gh("label", "create", arguments.label, *description, accept="already exists")
        command = ["issue", "create", "--title", title, "--label", arguments.label, "--body-file", "-"]
        print(gh(*command, stdin=body).strip())
    return 0


if __name__ == "__main__":
    report.run(main)
