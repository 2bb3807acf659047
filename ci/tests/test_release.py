"""Crates are published after their dependencies, archives are reproducible, and a release can be resumed."""

import hashlib
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import release
from release import Crate, check, order, pack, parse
from report import Problem
from tests.program import calls, stub


def crates(*listed: str) -> list[Crate]:
    """Makes crates from "name: dependencies". An exclamation mark: the crate is not published."""
    made = []
    for line in listed:
        name, _, needs = line.partition(":")
        made.append(Crate(name.strip("!"), "1.0.0", needs.split(), not name.endswith("!")))
    return made


class Order(unittest.TestCase):
    CASES = [
        (["a"], ["a"]),
        (["c: b", "b: a", "a"], ["a", "b", "c"]),
        (["z", "y", "x"], ["x", "y", "z"]),
        (["top: left right", "left: low", "right: low", "low"], ["low", "left", "right", "top"]),
        (["a", "tool!: a"], ["a"]),
    ]

    def test_order(self) -> None:
        for listed, expected in self.CASES:
            with self.subTest(listed):
                self.assertEqual([crate.name for crate in order(crates(*listed))], expected)

    def test_impossible_orders(self) -> None:
        for listed, message in [
            (["a: b", "b: a"], "a → b → a|b → a → b"),
            (["a: tool", "tool!"], "a is published, but depends on tool, which is not"),
        ]:
            with self.subTest(listed), self.assertRaisesRegex(Problem, message):
                order(crates(*listed))

    def test_metadata(self) -> None:
        local = {"name": "b", "path": "/b", "kind": "dev", "req": "^1.0.0"}
        dropped = {"name": "c", "path": "/c", "kind": "dev", "req": "*"}
        kept = {"name": "d", "path": "/d", "kind": None, "req": "*"}
        found = parse(
            {
                "packages": [
                    {
                        "name": "a",
                        "version": "1.0.0",
                        "publish": None,
                        "dependencies": [local, local, dropped, kept, {"name": "serde"}],
                    },
                    {"name": "c", "version": "1.0.0", "publish": [], "dependencies": []},
                ]
            }
        )
        cases: list[Any] = [[], {}, {"packages": [1]}, {"packages": [{"name": 1}]}, {"packages": []}]
        for bad in cases:
            with self.subTest(str(bad)), self.assertRaisesRegex(Problem, "`cargo metadata`"):
                parse(bad)
        self.assertEqual(found, [Crate("a", "1.0.0", ["b", "d"], True), Crate("c", "1.0.0", [], False)])


class Tags(unittest.TestCase):
    def test_tags(self) -> None:
        self.assertEqual(check(crates("a", "b"), "v1.0.0"), "1.0.0")
        self.assertEqual(check(crates("a"), None), "1.0.0")
        for tag in ("1.0.0", "v1.0", "v1.0.1", "", "v1.0.0 "):
            with self.subTest(tag), self.assertRaisesRegex(Problem, "does not match version"):
                check(crates("a"), tag)
        with self.assertRaisesRegex(Problem, "different versions: 1.0.0, 2.0.0"):
            check([*crates("a"), Crate("b", "2.0.0", [], True)], None)


class WithPrograms(unittest.TestCase):
    """With stubs of the programs."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        path = mock.patch.dict("os.environ", {"PATH": f"{folder.name}:/usr/bin:/bin"})
        path.start()
        self.addCleanup(path.stop)

    def test_publication_resumes(self) -> None:
        stub(
            self.folder,
            "cargo",
            'case "$*" in *"package a") echo "error: crate a@1.0.0 already exists on the index" >&2; exit 101 ;; esac',
        )
        release.publish(crates("b: a", "a"), dry=False)
        self.assertEqual(calls(self.folder, "cargo"), ["publish --locked --package a", "publish --locked --package b"])

    def test_publication_stops_at_a_failure(self) -> None:
        stub(self.folder, "cargo", "echo 'error: no token found' >&2; exit 101")
        with self.assertRaisesRegex(Problem, "exit code 101:\nerror: no token found"):
            release.publish(crates("b: a", "a"), dry=False)
        self.assertEqual(len(calls(self.folder, "cargo")), 1)

    def test_a_dry_run_uploads_nothing(self) -> None:
        stub(self.folder, "cargo", "")
        release.publish(crates("a"), dry=True)
        self.assertEqual(calls(self.folder, "cargo"), ["publish --workspace --locked --dry-run"])

    def test_an_upload_resumes_and_the_platforms_come_first(self) -> None:
        for name in ("tasker-1.0.0.tgz", "tasker-linux-x64-gnu-1.0.0.tgz", "other.gem"):
            (self.folder / name).touch()
        known = "npm error 403 You cannot publish over the previously published versions: 1.0.0."
        stub(self.folder, "npm", f'case "$*" in *linux*) echo "{known}" >&2; exit 1 ;; esac')
        release.upload("typescript", self.folder)
        names = [Path(call).name for call in calls(self.folder, "npm")]
        self.assertEqual(names, ["tasker-linux-x64-gnu-1.0.0.tgz", "tasker-1.0.0.tgz"])
        # gem writes its errors to the standard output.
        stub(self.folder, "gem", "echo 'Repushing of gem versions is not allowed.'; exit 1")
        release.upload("ruby", self.folder)
        stub(self.folder, "gem", "echo 'You do not have permission'; exit 1")
        with self.assertRaisesRegex(Problem, "exit code 1"):
            release.upload("ruby", self.folder)
        with self.assertRaisesRegex(Problem, r"has no \*.gem: build it"):
            release.upload("ruby", self.folder / "empty")

    def test_libraries_have_the_version_of_the_crates(self) -> None:
        with self.assertRaisesRegex(Problem, r"bindings/python/Cargo.toml: the version is \d.*, but the crates have 9"):
            release.check_libraries("9.9.9")

    def test_archives_are_reproducible_and_have_a_checksum(self) -> None:
        for binary in release.BINARIES:
            (self.folder / binary).write_text(binary)
        first, second = (pack(self.folder, self.folder / name, "1.0.0") for name in ("one", "two"))
        self.assertEqual(first.read_bytes(), second.read_bytes())
        subprocess.run(["sha256sum", "--quiet", "--check", f"{first.name}.sha256"], cwd=first.parent, check=True)
        with tarfile.open(first) as archive:
            top = first.name.removesuffix(".tar.gz")
            self.assertEqual(archive.getnames(), [f"{top}/{binary}" for binary in release.BINARIES])
        (self.folder / "rust-worker").unlink()
        with self.assertRaisesRegex(Problem, "rust-worker: No such file"):
            pack(self.folder, self.folder / "three", "1.0.0")
        self.assertEqual(list((self.folder / "three").iterdir()), [])
        with self.assertRaisesRegex(Problem, "rust-worker: No such file"):
            pack(self.folder, first.parent, "1.0.0")
        self.assertEqual(first.read_bytes(), second.read_bytes())

    def test_images_are_pushed_by_digest_under_one_index(self) -> None:
        digest = "sha256:" + "a" * 64
        (self.folder / "index").write_bytes(f'{{"manifests": [{{"digest": "{digest}"}}]}}\r\n'.encode())
        stub(self.folder, "skopeo", f'if [ "$1" = copy ]; then echo {digest} > "$3"; else cat {self.folder}/index; fi')
        stub(self.folder, "docker", "")
        index = release.push("worker", ["x.tar.gz", "y.tar.gz"], "registry.example/Owner", "1.0.0")
        name = "registry.example/owner/tasker-worker"
        self.assertEqual(index, "sha256:" + hashlib.sha256((self.folder / "index").read_bytes()).hexdigest())
        self.assertEqual(
            calls(self.folder, "docker"),
            [f"buildx imagetools create --tag {name}:1.0.0 {name}@{digest} {name}@{digest}"],
        )
        self.assertIn(f"docker-archive:y.tar.gz docker://{name}:1.0.0-1", calls(self.folder, "skopeo")[1])

    def test_a_push_without_a_digest_is_rejected(self) -> None:
        stub(self.folder, "skopeo", 'echo nonsense > "$3"')
        with self.assertRaisesRegex(Problem, "instead of a digest"):
            release.push("worker", ["x.tar.gz"], "registry.example/owner", "1.0.0")
        stub(self.folder, "skopeo", "")
        with self.assertRaisesRegex(Problem, "'' instead of a digest"):
            release.push("worker", ["x.tar.gz"], "registry.example/owner", "1.0.0")

    def test_an_index_must_list_what_was_pushed(self) -> None:
        digest = "sha256:" + "a" * 64
        stub(self.folder, "docker", "")
        for index, message in [
            ("", "worker:1.0.0: is not JSON"),
            ("{}", "is not an index"),
            ('{"manifests": 1}', "is not an index"),
            ('{"manifests": []}', f"does not list {digest}"),
            ('{"manifests": [{"digest": "sha256:0"}]}', f"does not list {digest}"),
        ]:
            with self.subTest(index), self.assertRaisesRegex(Problem, message):
                stub(self.folder, "skopeo", f'if [ "$1" = copy ]; then echo {digest} > "$3"; else echo \'{index}\'; fi')
                release.push("worker", ["x.tar.gz"], "registry.example/owner", "1.0.0")
