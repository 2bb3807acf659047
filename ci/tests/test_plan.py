"""The rules have the intended effect. Bad rules and payloads are rejected."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plan
from plan import Change, decide, from_event, parse_rules, pattern
from report import Problem
from tests.program import run

RULES = parse_rules(plan.RULES.read_text(), "paths.toml")
PLAN = Path(plan.__file__)

# Short names for the table below.
Q, U, W, N, Y, R, T, A, S, C, B, V, P = RULES.jobs
ALL = set(RULES.jobs)


def needed(*files: str, labels: Sequence[str] = (), without: Sequence[str] = ()) -> set[str]:
    change = Change(list(files), labels=list(labels), without=list(without))
    return {job for job, decision in decide(RULES, change).items() if decision.needed}


class TheProjectsRules(unittest.TestCase):
    CASES = [
        ("README.md", {Q}),
        ("docs/operating/backup.md", {Q}),
        ("docs/diagram.svg", {Q}),
        ("docs/limits.md", {Q, U}),
        (".github/workflows/README.md", {Q}),
        ("LICENSE", {Q}),
        ("crates/tasker-api/src/lib.rs", {Q, U, W, N, A, S, B, V, P}),
        ("crates/tasker-runtime/README.md", {Q, U, W, N, A, S, B, V, P}),
        ("crates/tasker-engine/migrations/0001_schema.sql", {Q, U, W, N, A, S, B, V, P}),
        ("crates/tasker-core/tests/integration/main.rs", {Q, U, N, V}),
        ("crates/tasker-core/src/tests/clock.rs", {Q, U, W, N, A, S, B, V, P}),
        ("config/tasker/base/worker.toml", {Q, U, W, N, A, S, B, V, P}),
        ("Cargo.lock", {Q, U, W, N, A, S, B, V, P}),
        ("rust-toolchain.toml", {Q, U, W, N, A, S, B, V, P}),
        ("crates/tasker-worker/src/claim.rs", {Q, U, W, N, Y, R, T, A, S, B, V, P}),
        ("crates/tasker-worker-bridge/tests/bridge.rs", {Q, U, W, N, Y, R, T, A, S, B, V, P}),
        ("bindings/python/src/lib.rs", {Q, Y}),
        ("scripts/test-python", {Q, Y}),
        ("bindings/ruby/lib/tasker.rb", {Q, R}),
        ("scripts/test-ruby", {Q, R}),
        ("bindings/typescript/src/worker.ts", {Q, T}),
        ("scripts/test-typescript", {Q, T}),
        ("bindings/other/src/lib.rs", {Q, U}),
        ("starters/rust/src/main.rs", {Q, U, S}),
        ("tests/starters.py", {Q, U, S}),
        ("tests/sabotage.py", {Q, N, C}),
        ("flake.lock", {Q, U, W, N, S, C, B, V}),
        ("ui/src/app.tsx", {Q, W}),
        ("crates/tasker-orchestration/ui/app.js", {Q, U, W, N, B}),
        ("nix/checks.nix", {Q, N, C, B}),
        ("nix/images.nix", {Q, N, C, B}),
        ("deploy/compose.yaml", {Q, N, C, B}),
        ("process-compose.yaml", {Q, N, C}),
        ("scripts/integration", {Q, N, C}),
        ("clippy.toml", {Q}),
        (".ci/run", {Q}),
        ("ci/tests/test_plan.py", {Q}),
        ("ci/coverage.toml", {Q, V}),
        ("ci/plan.py", ALL),
        ("ci/jobs.toml", ALL),
        ("ci/schemathesis.toml", ALL),
        ("ci/tools/requirements.txt", ALL),
        (".github/workflows/ci.yml", ALL),
        (".github/actions/nix/action.yml", ALL),
        # No rule matches these.
        ("new-folder/file", ALL),
        ("Makefile", ALL),
        ("nix", ALL),
        ("crates.md/x", ALL),
        ("ci/new/thing.py", ALL),
    ]

    def test_what_one_file_needs(self) -> None:
        for path, jobs in self.CASES:
            with self.subTest(path):
                self.assertEqual(needed(path), jobs)

    def test_a_file_that_a_test_includes_needs_the_tests(self) -> None:
        root = plan.RULES.parent.parent
        included = set()
        for source in (root / "crates").glob("**/*.rs"):
            for name in re.findall(r'include_str!\("([^"]+)"\)', source.read_text()):
                file = os.path.relpath((source.parent / name).resolve(), root)
                if not file.startswith("crates/"):
                    included.add(file)
        self.assertTrue(included)
        for file in sorted(included):
            with self.subTest(file):
                self.assertTrue(needed(file) & {U, N}, "add a rule to ci/paths.toml")

    def test_a_change_needs_what_its_files_need(self) -> None:
        self.assertEqual(needed("README.md", "bindings/x"), {Q, U})
        self.assertEqual(needed("README.md", "unknown"), ALL)
        self.assertEqual(needed(), {Q})

    def test_labels_and_excluded_jobs(self) -> None:
        self.assertEqual(needed("README.md", labels=["run-docker"]), {Q, C})
        self.assertEqual(needed("README.md", labels=["bug"]), {Q})
        self.assertEqual(needed("nix/checks.nix", without=[C]), {Q, N, B})
        with self.assertRaisesRegex(Problem, "nonsense: no such job"):
            needed("README.md", without=["nonsense"])

    def test_unknown_changes_need_everything(self) -> None:
        decisions = decide(RULES, Change(None, reason="the branch is new"))
        self.assertTrue(all(d.needed and d.why == "the branch is new" for d in decisions.values()))

    def test_reasons(self) -> None:
        decisions = decide(RULES, Change(["a.md", "bindings/x", "what"]))
        self.assertEqual(decisions[Q].why, "a.md (docs)")
        self.assertEqual(decisions[U].why, "bindings/x (bindings)")
        self.assertEqual(decisions[P].why, "what (no rule matches it)")
        self.assertEqual(decide(RULES, Change(["a.md"]))[P].why, "none of the 1 changed files needs it")
        self.assertEqual(decide(RULES, Change([]))[Q].why, "always needed")
        self.assertEqual(decide(RULES, Change([]))[P].why, "nothing has changed")


class Patterns(unittest.TestCase):
    CASES = [
        ("*.md", "a.md", True),
        ("*.md", "docs/a.md", False),
        ("*.md", "a.mdx", False),
        ("**/a.md", "a.md", True),
        ("**/a.md", "x/y/a.md", True),
        ("**/a.md", "x/ya.md", False),
        ("docs/**", "docs/a/b", True),
        ("docs/**", "docs2/a", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/xb", False),
        ("crates/*/tests/**", "crates/x/tests/y.rs", True),
        ("crates/*/tests/**", "crates/x/src/tests/y.rs", False),
        ("?.rs", "a.rs", True),
        ("?.rs", "/.rs", False),
        ("a.b", "axb", False),
        ("a+[b]", "a+[b]", True),
        ("docs/**", "docs/two\nlines", True),
    ]

    def test_patterns(self) -> None:
        for glob, path, expected in self.CASES:
            with self.subTest(f"{glob} {path}"):
                self.assertEqual(bool(pattern(glob).fullmatch(path)), expected)


class BadRules(unittest.TestCase):
    JOBS = "[jobs]\na = {}\n"
    CASES = [
        ("= 1", "Invalid statement"),
        ("", r"has no \[jobs\]"),
        ("jobs = 1", r"has no \[jobs\]"),
        ("[jobs]\na = 1", "job a: expected a table"),
        ("[jobs]\na = { lable = 'x' }", "job a: unknown lable; known are always, label"),
        ("[jobs]\na = { always = 1 }", "job a: always: expected true or false"),
        ("x = " + "[" * 200000, "nested too deeply"),
        ("x = 1" + "0" * 10000, "is not TOML"),
        (JOBS + "[[rules]]", "unknown rules; known are jobs, rule"),
        (JOBS + "[rule]\nname = 'r'", "expected rules as"),
        (JOBS + "[[rule]]\npaths = []\njobs = []", r"rule 1 \(without a name\): has no name"),
        (JOBS + "[[rule]]\nname = 'r'\njobs = []", r"rule 1 \(r\): paths: expected a list"),
        (JOBS + "[[rule]]\nname = 'r'\npaths = ['*']\njobs = 'a'", "jobs: expected a list"),
        (JOBS + "[[rule]]\nname = 'r'\npaths = ['*']\njobs = ['b']", "b: no such job"),
        (JOBS + "[[rule]]\nname = 'r'\npath = ['*']", "unknown path"),
    ]

    def test_are_rejected(self) -> None:
        for text, message in self.CASES:
            with self.subTest(text), self.assertRaisesRegex(Problem, "file.toml: .*" + message):
                parse_rules(text, "file.toml")


class Events(unittest.TestCase):
    CASES = [
        ("push", {"before": plan.NO_COMMIT, "after": "x"}, "the branch is new", []),
        ("push", {"before": "1" * 40, "after": "2" * 40}, "git cannot compare with " + "1" * 40, []),
        ("workflow_dispatch", {"inputs": {"containers": "false"}}, "started by hand", [C]),
        ("workflow_dispatch", {"inputs": {"containers": "true"}}, "started by hand", []),
        ("workflow_dispatch", {"inputs": {"containers": False}}, "started by hand", [C]),
        ("workflow_dispatch", {"inputs": None}, "started by hand", []),
        ("schedule", {}, "started by schedule", []),
    ]

    def test_without_known_files(self) -> None:
        for name, payload, reason, without in self.CASES:
            with self.subTest(f"{name} {payload}"):
                change = from_event(name, payload)
                self.assertEqual((change.files, change.reason, change.without), (None, reason, without))

    NO_HASHES = [None, "", "x", "main", "1" * 39, "1" * 65, "--output=/tmp/file", "1" * 40 + "\n", "\0", "\ud800", [1]]

    def test_bad_payloads(self) -> None:
        for name, payload in [
            ("push", {}),
            ("push", []),
            ("merge_group", {"merge_group": {}}),
            ("pull_request", {"pull_request": None}),
            *(("push", {"before": bad, "after": "2" * 40}) for bad in self.NO_HASHES),
            *(("merge_group", {"merge_group": {"base_sha": "1" * 40, "head_sha": bad}}) for bad in self.NO_HASHES),
        ]:
            with self.subTest(f"{name} {payload}"), self.assertRaisesRegex(Problem, f"payload of event {name}"):
                from_event(name, payload)


class InARepository(unittest.TestCase):
    """The program, with its own commits."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.git("init", "--quiet", "--initial-branch=main")
        self.first = self.commit("README.md")

    def git(self, *arguments: str) -> str:
        settings = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *settings, *arguments], cwd=self.folder.name, capture_output=True, text=True, check=True
        ).stdout.strip()

    def commit(self, path: str) -> str:
        file = Path(self.folder.name, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", path)
        return self.git("rev-parse", "HEAD")

    def plan(self, *arguments: str, stdin: str = "") -> Any:
        done = run(PLAN, "--json", *arguments, cwd=self.folder.name, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def needs(self, found: Any) -> set[str]:
        return {job for job, decision in found["jobs"].items() if decision["needed"]}

    def event(self, payload: object) -> str:
        Path(self.folder.name, ".git/event.json").write_text(json.dumps(payload))
        return str(Path(self.folder.name, ".git/event.json"))

    def test_since_a_base_with_what_is_not_committed(self) -> None:
        self.git("switch", "--quiet", "--create", "work")
        self.commit("bindings/x")
        self.assertEqual(self.needs(self.plan("--base", "main")), {Q, U})
        Path(self.folder.name, "README.md").write_text("new")
        Path(self.folder.name, "bindings/x").unlink()
        self.assertEqual(self.needs(self.plan("--base", "main")), {Q})
        for base in ("nonsense", "", "--output=file", "HEAD:README.md"):
            with self.subTest(base):
                done = run(PLAN, f"--base={base}", cwd=self.folder.name)
                self.assertEqual((done.returncode, f"no commit {base!r}" in done.stderr), (2, True), done.stderr)

    def test_a_moved_file_counts_under_both_names(self) -> None:
        self.commit("bindings/x")
        self.git("mv", "bindings/x", "docs")
        self.git("commit", "--quiet", "--message", "move")
        self.assertEqual(self.needs(self.plan("--base", "HEAD^")), ALL)

    def test_push_and_merge_group(self) -> None:
        second = self.commit("docs/two\nlines \N{SNOWMAN}")
        push = self.event({"before": self.first, "after": second})
        found = self.plan("--event", "push", "--payload", push)
        self.assertEqual((found["base"], self.needs(found)), (self.first, {Q}))
        group = self.event({"merge_group": {"base_sha": self.first, "head_sha": second}})
        self.assertEqual(self.needs(self.plan("--event", "merge_group", "--payload", group)), {Q})

    def test_a_pull_request_is_compared_with_the_first_parent_of_its_merge(self) -> None:
        self.git("switch", "--quiet", "--create", "work")
        self.commit("bindings/x")
        self.git("switch", "--quiet", "main")
        base = self.commit("nix/other.nix")
        self.git("merge", "--quiet", "--no-ff", "work")
        payload = self.event({"pull_request": {"labels": [{"name": "run-docker"}, {"name": [1]}, {"name": "\ud800"}]}})
        found = self.plan("--event", "pull_request", "--payload", payload)
        self.assertEqual((found["base"], self.needs(found)), (base, {Q, U, C}))

    def test_a_name_that_is_not_utf_8(self) -> None:
        folder = os.path.join(os.fsencode(self.folder.name), b"bindings")
        os.mkdir(folder)
        with open(os.path.join(folder, b"\xff"), "wb") as file:
            file.write(b"x")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "x")
        self.assertEqual(self.needs(self.plan("--base", "HEAD^")), {Q, U})

    def test_files_from_standard_input(self) -> None:
        self.assertEqual(self.needs(self.plan("--files", "-", stdin="README.md\nbindings/x\n")), {Q, U})
        self.assertEqual(self.needs(self.plan("--files", "-", stdin="bindings/new\nline\0")), {Q, U})

    def test_bad_input_ends_with_2_and_a_message(self) -> None:
        for arguments, message in [
            (["--files", "missing"], "missing: No such file"),
            (["--event", "push", "--payload", __file__], "is not JSON"),
            (["--files", "-", "--rules", "missing.toml"], "missing.toml: No such file"),
        ]:
            with self.subTest(arguments):
                done = run(PLAN, *arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(message, done.stderr)
                self.assertNotIn("Traceback", done.stderr)
