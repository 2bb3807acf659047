"""What the programs of ci/ share: problems as messages, tables, and the job summary of GitHub.

A program's `main` does its work and returns an exit code. 0: fine. 1: what it looked at is not fine. 2: it could not
look, because its input or a tool is wrong; raise `Problem` for that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence


class Problem(Exception):
    """The program cannot do its work. The message says what is wrong, where, and what to do."""


def run(main: Callable[[], int]) -> None:
    """Ends the process with `main`'s exit code, or with 2 and the message of its `Problem`."""
    try:
        code = main()
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        code = 2
    sys.exit(code)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose columns also line up in a terminal."""
    cells = [list(head)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])]) + "\n"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def show(markdown: str) -> None:
    """Prints to the terminal, and in a job on GitHub also to the job's summary."""
    print(markdown)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(path, "a", encoding="utf-8") as summary:
            summary.write(markdown + "\n")


def output(name: str, value: str) -> None:
    """Sets an output of the step, in a job on GitHub; elsewhere it does nothing."""
    if "\n" in value:
        raise ValueError(f"output {name} has more than one line")
    if path := os.environ.get("GITHUB_OUTPUT"):
        with open(path, "a", encoding="utf-8") as outputs:
            outputs.write(f"{name}={value}\n")


def read(path: str) -> str:
    """A file's text; `-` is standard input."""
    try:
        if path == "-":
            return sys.stdin.read()
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{path}: is not UTF-8 text: {error}") from error
