"""Keeps one open issue up to date: makes it, or rewrites the one that is open, found by its label.

    python3 ci/issue.py lag.md --label upstream          the first line of the file is the title
    python3 ci/issue.py --label upstream --close         all is well again: closes it

It works with GitHub's client, gh, in the repository of the current folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess

import report
from report import Problem


def gh(*arguments: str) -> str:
    try:
        done = subprocess.run(["gh", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Problem("gh is not on the PATH") from error
    if done.returncode != 0:
        raise Problem(f"`gh {' '.join(arguments[:2])}` has failed: {done.stderr.strip()}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", metavar="FILE", help="a title, an empty line, Markdown")
    parser.add_argument("--label", required=True, help="the issue's label; it is made if there is none of that name")
    parser.add_argument("--close", action="store_true", help="close the issue")
    arguments = parser.parse_args()
    if bool(arguments.text) == arguments.close:
        raise Problem("give the file with the text, or --close")
    title, body = "", ""
    if arguments.text:
        title, _, body = report.read(arguments.text).partition("\n")
        if not title.strip():
            raise Problem(f"{arguments.text}: its first line, the title, is empty")

    found = json.loads(
        gh("issue", "list", "--label", arguments.label, "--state", "open", "--limit", "1", "--json", "number")
    )
    number = str(found[0]["number"]) if found else None
    if arguments.close:
        if number:
            gh("issue", "close", number, "--comment", "All is well again.")
        print(f"closed issue {number}" if number else "no issue is open")
    elif number:
        gh("issue", "edit", number, "--title", title, "--body", body.strip())
        print(f"rewrote issue {number}")
    else:
        gh("label", "create", arguments.label, "--force", "--description", "Kept up to date by a workflow")
        print(gh("issue", "create", "--title", title, "--body", body.strip(), "--label", arguments.label).strip())
    return 0


if __name__ == "__main__":
    report.run(main)
