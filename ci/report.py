"""Shared by the programs of ci/: errors, input, commands, tables, and GitHub's job summary.

The `main` of a program returns its exit code. 0: the check passed. 1: the check failed. 2: the check could not run,
because its input or a tool is broken; `main` raises `Problem` for that.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# In bytes. GitHub drops the whole summary of a step if it is longer.
SUMMARY = 1024 * 1024
# In characters. A longer line is not readable.
LINE = 500


class Problem(Exception):
    """The program cannot continue. The message says what is wrong, where, and what to do."""


def run(main: Callable[[], int]) -> None:
    """Ends the process with the exit code of `main`, or with 2 and the message of a `Problem`. A file that cannot be
    read or written, including standard output, is a problem too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # JSON and file names can contain invalid text.
            stream.reconfigure(errors="backslashreplace")
    code: Any
    try:
        code = main()
        print(end="", flush=True)
    except SystemExit as end:  # of argparse
        code = end.code
    except Problem as problem:
        code = _fail(str(problem))
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader closed the pipe, as `| head` does. No message is needed. 141 is the code that a shell reports.
        code = 141
    except OSError as error:
        code = _fail(f"{error.filename or 'standard output'}: {error.strerror or error}")
    try:
        print(end="", flush=True)
    except OSError:
        # Python would flush again at exit and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _fail(message: str) -> int:
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr)
    return 2


def read(path: str) -> str:
    """Reads a text file. `-` is standard input."""
    try:
        with open(0 if path == "-" else path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{path}: is not UTF-8 text: {error}") from error


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def parse_json(text: str, source: str) -> Any:
    return _parse(lambda: json.loads(text, object_pairs_hook=_unique), source, "JSON")


def parse_toml(text: str, source: str) -> dict[str, Any]:
    data: dict[str, Any] = _parse(lambda: tomllib.loads(text), source, "TOML")
    return data


def _parse(parser: Callable[[], Any], source: str, language: str) -> Any:
    try:
        return parser()
    except ValueError as error:
        raise Problem(f"{source}: is not {language}: {error}") from error
    except RecursionError as error:
        raise Problem(f"{source}: is nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Rejects duplicate keys. The parser would silently keep only the last one."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"duplicate key {key!r}")
        found[key] = value
    return found


def command(line: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command and returns its output, whatever its exit code. Takes the options of `subprocess.run`."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    try:
        return subprocess.run(line, encoding="utf-8", errors="backslashreplace", check=False, **settings)
    except FileNotFoundError as error:
        raise Problem(f"{line[0]} is not on the PATH") from error
    except OSError as error:
        raise Problem(f"{line[0]}: cannot be started: {error.strerror}") from error
    except ValueError as error:
        raise Problem(f"{line[0]}: cannot start with the arguments {list(line[1:])!r}: {error}") from error


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Formats a Markdown table whose columns also align in a terminal."""
    cells = [list(head)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])]) + "\n"


def _cell(value: object) -> str:
    return one_line(str(value)).replace("|", "\\|")


def one_line(text: str) -> str:
    return _shorten(" ".join(text.split()))


def block(lines: Iterable[str]) -> str:
    """Formats output as Markdown that shows it verbatim. It is indented, so that no line can end the block."""
    return "".join(f"    {_shorten(line)}\n" for line in lines)


def _shorten(line: str) -> str:
    return line if len(line) <= LINE else f"{line[:LINE]}… ({len(line) - LINE} more characters)"


def cut(text: str, limit: int) -> str:
    """Cuts Markdown to a number of bytes, and adds a note if something is missing."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= limit:
        return text
    note = "\n\nThe rest is omitted, because it exceeds GitHub's limit.\n"
    room = limit - len(note.encode())
    return data[:room].decode(errors="ignore").rpartition("\n")[0] + note if room >= 0 else ""


def show(markdown: str) -> None:
    """Prints to the terminal, and on GitHub also to the job summary."""
    print(markdown)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as summary:
            summary.write(cut(markdown + "\n", SUMMARY - summary.tell()))


def output(name: str, value: str) -> None:
    """Sets an output of the step on GitHub. Elsewhere, it does nothing."""
    if "\n" in value:
        raise Problem(f"output {name} has more than one line: {value!r}")
    if path := os.environ.get("GITHUB_OUTPUT"):
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as outputs:
            outputs.write(f"{name}={value}\n")
