"""The grades, and the possible output of the client of each registry."""

import json
import os
import tempfile
import tomllib
import unittest
from pathlib import Path

import upstream
from report import Problem
from tests.program import run, stub
from upstream import Answer, Failure, Lag, grade, issue, load, parse

ROOT = Path(upstream.__file__).parent.parent


class Grades(unittest.TestCase):
    CASES = [
        ("1.2.3", "1.2.3", "info"),
        ("1.2.3", "1.2.4", "info"),
        ("1.2.3", "1.2.5", "notice"),
        ("1.2.3", "1.2.30", "notice"),
        ("1.2.3", "1.3.0", "warning"),
        ("1.2.3", "1.3.9", "warning"),
        ("1.2.3", "1.4.0", "error"),
        ("1.9.0", "1.10.0", "warning"),
        ("1.2.3", "2.0.0", "critical"),
        ("1.9.9", "12.0.0", "critical"),
        ("0.1.0", "0.2.0", "warning"),
        ("0.1.0", "0.3.0", "error"),
        # Newer than upstream.
        ("2.0.0", "1.9.9", "info"),
        ("1.3.0", "1.2.9", "info"),
        ("0.34.0-alpha.7", "0.33.7", "info"),
        # Different notations.
        ("1", "1.0.0", "info"),
        ("1.2", "1.3", "warning"),
        ("v1.2.3", "1.2.3", "info"),
        ("=1.2.3", "1.2.4", "info"),
        ("1.2.3+build.5", "1.2.3", "info"),
        # A release is newer than its pre-releases, by less than a patch.
        ("1.0.0-alpha.7", "1.0.0", "info"),
        ("1.0.0rc1", "1.0.0", "info"),
        ("1.0.0.rc1", "1.0.2", "notice"),
        ("1.0.0-rc.1", "2.0.0", "critical"),
        # A fourth number, as gem allows it, counts less than a patch.
        ("7.0.8", "7.0.8.1", "info"),
        ("7.0.8.4", "7.0.8.1", "info"),
        ("7.0.8.1", "7.1.0", "warning"),
    ]

    def test_grades(self) -> None:
        for pinned, latest, expected in self.CASES:
            with self.subTest(f"{pinned} {latest}"):
                self.assertEqual(grade(pinned, latest), expected)

    def test_malformed_versions(self) -> None:
        for version in (
            "",
            "one",
            "1.2.3.4.5",
            "1" + "0" * 5000,
            "1..2",
            "1.2.x",
            "^1.2",
            ">=1",
            "1.2.3 ",
            "-1.0.0",
            "1.0.0\n",
            "None",
        ):
            with self.subTest(version), self.assertRaisesRegex(Failure, "malformed version"):
                parse(version)


# The output of cargo 1.95, npm 11, pip 26 and gem 3.3, shortened.
CARGO = "rustls #tls\nA modern TLS library\nversion: 0.23.46\nlicense: MIT\n"
CARGO_MISSING = "error: could not find `x` in registry `the index`"
CARGO_OFF = "error: download of config.json failed\n\nCaused by:\n  [7] Could not connect to server"
NPM_MISSING = '{"error": {"code": "E404", "summary": "Not Found"}}'
NPM_OFF = '{"error": {"code": "ECONNREFUSED"}}'
PIP_REMARK = "WARNING: pip index is currently an experimental command. It may be removed.\n"
PIP_MISSING = PIP_REMARK + "ERROR: No matching distribution found for x"
PIP_OFF = (
    PIP_REMARK
    + "WARNING: Retrying (Retry(total=0)) after connection broken by X\nERROR: No matching distribution found for x"
)


class Clients(unittest.TestCase):
    # The client, its answers in order, the version or the problem.
    CASES = [
        ("rust", [Answer(0, CARGO, "")], "0.23.46"),
        ("rust", [Answer(0, "version: 1.2.0 (latest 1.3.0)\n", "")], "1.3.0"),
        ("rust", [Answer(0, "version: 1.2.0 (latest 1.3.0 from registry)\n", "")], "1.3.0"),
        (
            "rust",
            [
                Answer(0, "version: 0.9.0 (latest 1.0.0-rc.1)\n", ""),
                Answer(101, "", CARGO_MISSING),
                Answer(0, "version: 0.9.0 (latest 1.0.0-rc.1)\n", ""),
            ],
            "0.9.0",
        ),
        (
            "rust",
            [Answer(0, "version: 0.1.0-alpha.2\n", ""), Answer(0, "version: 0.1.0-alpha.2\n", "")],
            "0.1.0-alpha.2",
        ),
        (
            "rust",
            [Answer(0, "version: 9999999.0.0-rc.1\n", ""), *[Answer(101, "", CARGO_MISSING)] * upstream.MAJORS],
            "9999999.0.0-rc.1",
        ),
        ("rust", [Answer(0, f"version: 1{'0' * 5000}\n", "")], "malformed version"),
        ("rust", [Answer(101, "", CARGO_MISSING)], "unknown package"),
        ("rust", [Answer(101, "", CARGO_OFF)], "registry unreachable: error: download of config.json failed"),
        ("typescript", [Answer(0, '"7.0.2"\n', "npm warn Unknown user config")], "7.0.2"),
        ("typescript", [Answer(1, NPM_MISSING, "npm error code E404")], "unknown package"),
        (
            "typescript",
            [Answer(1, NPM_OFF, "npm warn x\nnpm error code ECONNREFUSED")],
            "registry unreachable: npm error code ECONNREFUSED",
        ),
        ("typescript", [Answer(0, "[" * 200000, "npm error")], "registry unreachable: npm error"),
        ("typescript", [Answer(0, "", "")], r"registry unreachable: no output \(exit code 0\)"),
        ("python", [Answer(0, "x (1.2.3)\nAvailable versions: 1.2.3, 1.2.2\n", PIP_REMARK)], "1.2.3"),
        ("python", [Answer(1, "", PIP_MISSING)], "unknown package"),
        ("python", [Answer(1, "", PIP_OFF)], "registry unreachable: WARNING: Retrying"),
        ("ruby", [Answer(0, "x (13.3.1)\n", "")], "13.3.1"),
        ("ruby", [Answer(0, "\nx (1.19.0 ruby java x86_64-linux-gnu)\n", "")], "1.19.0"),
        ("ruby", [Answer(0, "\n", ""), Answer(0, "rubygems-update (4.0.0)\n", "")], "unknown package"),
        ("ruby", [Answer(0, "\n", ""), Answer(0, "\n", "")], "registry unreachable: gem lists nothing"),
        ("ruby", [Answer(2, "", "ERROR:  Could not connect")], "registry unreachable: ERROR:  Could not connect"),
    ]

    def test_output(self) -> None:
        for ecosystem, answers, expected in self.CASES:
            with self.subTest(f"{ecosystem}: {expected}"):
                left = list(answers)
                try:
                    said = upstream.CLIENTS[ecosystem]("x", lambda command: left.pop(0))
                    self.assertEqual(said, expected)
                except Failure as failure:
                    self.assertRegex(str(failure), expected)
                self.assertEqual(left, [])


class Pins(unittest.TestCase):
    CASES = [
        ("{", "is not JSON"),
        ("[]", "expected an object of ecosystems"),
        ("[" * 200000, "nested too deeply"),
        ('{"rust": {"a": "1", "a": "2"}}', "duplicate key 'a'"),
        ('{"go": {}}', "unknown ecosystem 'go'; known are rust"),
        ('{"rust": ["axum"]}', "rust: expected an object of packages"),
        ('{"rust": {"--config=x": "1"}}', "'--config=x' is not the name of a package"),
        ('{"rust": {"a b": "1"}}', "'a b' is not the name of a package"),
    ]

    def test_bad_files(self) -> None:
        for text, message in self.CASES:
            with self.subTest(text), self.assertRaisesRegex(Problem, "pins.json: .*" + message):
                load(text, "pins.json")

    def test_the_pins_are_the_versions_that_cargo_builds(self) -> None:
        files = [ROOT / "Cargo.lock", *ROOT.glob("bindings/*/Cargo.lock")]
        packages = [package for file in files for package in tomllib.loads(file.read_text())["package"]]
        locked = {(package["name"], package["version"]) for package in packages}
        for lag in load((ROOT / "upstream-versions.json").read_text(), "upstream-versions.json"):
            parse(lag.pinned)
            if lag.ecosystem == "rust":
                self.assertIn(
                    (lag.package, lag.pinned), locked, "upstream-versions.json: write the version of Cargo.lock"
                )


class Issue(unittest.TestCase):
    def test_lists_what_is_behind_with_the_worst_first(self) -> None:
        text = issue(
            [
                Lag("rust", "fine", "1.0.0", "1.0.0", "info"),
                Lag("rust", "late", "1.0.0", "1.1.0", "warning"),
                Lag("ruby", "old", "1.0.0", "2.0.0", "critical"),
                Lag("python", "gone", "1.0.0", problem="unknown package"),
            ]
        )
        self.assertEqual(text.splitlines()[:2], ["Upstream versions: 1 critical, 1 warning, 1 unknown", ""])
        self.assertNotIn("fine", text)
        self.assertLess(text.index("| old "), text.index("| late "))

    def test_when_everything_is_up_to_date(self) -> None:
        self.assertTrue(
            issue([Lag("rust", "x", "1.0.0", "1.0.0", "info")]).startswith("Upstream versions: all up to date\n\n")
        )


class TheProgram(unittest.TestCase):
    """With stubs of the clients."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        stub(self.folder.name, "cargo", "echo 'version: 1.2.0'")
        stub(self.folder.name, "npm", "echo 'npm error code ECONNREFUSED' >&2; exit 1")
        stub(self.folder.name, "pip", "").chmod(0o644)

    CASES = [
        ({"rust": {"a": "1.0.0"}}, [], 0, "| error "),
        ({"rust": {"a": "1.0.0"}}, ["--fail-on", "error"], 1, "| error "),
        ({"rust": {"a": "1.1.0"}}, ["--fail-on", "error"], 0, "| warning "),
        ({"rust": {"a": "1.1.0"}}, ["--fail-on", "warning"], 1, "| warning "),
        ({"rust": {"a": "1.1"}, "ruby": {"b": "1"}}, ["--only", "rust", "--fail-on-problems"], 0, "| warning "),
        ({"rust": {"a": "one"}}, [], 0, "malformed version 'one'"),
        ({"rust": {"a": "one"}}, ["--fail-on", "notice"], 0, "malformed version 'one'"),
        ({"rust": {"a": "one"}}, ["--fail-on-problems"], 1, "malformed version 'one'"),
        ({"rust": {"a": None}}, ["--fail-on-problems"], 1, "malformed version 'None'"),
        ({"typescript": {"a": "1.0.0"}}, [], 0, "registry unreachable: npm error code ECONNREFUSED"),
        ({"typescript": {"a": "1.0.0"}}, ["--fail-on-problems"], 1, "registry unreachable"),
        ({"ruby": {"a": "1.0.0"}}, [], 0, "gem is not on the PATH"),
        ({"python": {"a": "1.0.0"}}, [], 0, "pip: cannot be started: Permission denied"),
        ({"typescript": {"b": "\ud800"}}, [], 0, r"malformed version '\ud800'"),
        ({"haskell": {}}, [], 2, "unknown ecosystem 'haskell'"),
        ({}, [], 0, "| grade"),
    ]

    def test_exit_codes(self) -> None:
        pins = Path(self.folder.name, "pins.json")
        for content, arguments, code, text in self.CASES:
            with self.subTest(f"{content} {arguments}"):
                pins.write_text(json.dumps(content))
                done = run(upstream.__file__, "--pins", str(pins), *arguments, variables={"PATH": self.folder.name})
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(text, done.stdout + done.stderr)
                self.assertNotIn("Traceback", done.stderr)

    def test_files(self) -> None:
        pins, lag, text = (Path(self.folder.name, name) for name in ("pins.json", "lag.json", "issue.md"))
        pins.write_text('{"rust": {"a": "1.0.0"}}')
        done = run(
            upstream.__file__,
            "--pins",
            str(pins),
            "--json",
            str(lag),
            "--issue",
            str(text),
            variables={"PATH": self.folder.name + os.pathsep + "/bin"},
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            json.loads(lag.read_text()),
            [
                {
                    "ecosystem": "rust",
                    "package": "a",
                    "pinned": "1.0.0",
                    "latest": "1.2.0",
                    "grade": "error",
                    "problem": None,
                }
            ],
        )
        self.assertTrue(text.read_text().startswith("Upstream versions: 1 error\n\n"))
