"""What a release needs beside builds.

    python3 ci/release.py check --tag v0.1.0          does the tag fit the workspace, and can its crates be published?
    python3 ci/release.py order                       the crates, each after those that it depends on
    python3 ci/release.py publish --dry-run           what `publish` would upload, packed and built
    python3 ci/release.py pack target/release dist    an archive of the binaries and its checksum
    python3 ci/release.py push worker a.tar.gz ...    an image, one archive a system, pushed by digest

`publish` and `push` may be run again after a failure: what is already there is left alone.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import platform
import re
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import report
from report import Problem

ROOT = Path(__file__).parent.parent
BINARIES = ["tasker-cli", "tasker-server", "rust-worker"]


@dataclass
class Crate:
    name: str
    version: str
    # Dependencies within the workspace, those of its tests too: cargo resolves them all when it packs a crate. It drops
    # dependencies of tests that have no version.
    needs: list[str]
    published: bool


def needed(dependency: Any) -> bool:
    """Whether a dependency must be published before its crate."""
    dropped = dependency.get("kind") == "dev" and dependency.get("req") == "*"
    return bool(dependency.get("path")) and not dropped


def parse(metadata: Any) -> list[Crate]:
    """The crates of `cargo metadata --no-deps`."""
    try:
        crates = [
            Crate(
                package["name"],
                package["version"],
                sorted({dependency["name"] for dependency in package["dependencies"] if needed(dependency)}),
                package["publish"] != [],
            )
            for package in metadata["packages"]
        ]
        if not all(isinstance(word, str) for crate in crates for word in (crate.name, crate.version, *crate.needs)):
            raise TypeError("a name or a version is not a word")
    except (LookupError, TypeError, AttributeError) as error:
        raise Problem(f"`cargo metadata` did not say what was expected: {error!r}") from error
    if not crates:
        raise Problem("`cargo metadata` lists no crates")
    return crates


def order(crates: list[Crate]) -> list[Crate]:
    """The crates to publish, each after what it needs; by name where that leaves a choice."""
    by_name = {crate.name: crate for crate in crates if crate.published}
    for crate in by_name.values():
        if missing := [name for name in crate.needs if name not in by_name]:
            raise Problem(f"{crate.name} is published, but needs {', '.join(missing)}, which is not")
    sorter = TopologicalSorter({name: crate.needs for name, crate in sorted(by_name.items())})
    try:
        sorter.prepare()
    except CycleError as error:
        raise Problem(f"crates need each other, so none can be published first: {' → '.join(error.args[1])}") from error
    names: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        sorter.done(*ready)
        names += ready
    return [by_name[name] for name in names]


def check(crates: list[Crate], tag: str | None) -> str:
    """The one version of all crates, which is also the tag's."""
    versions = {crate.version for crate in crates}
    if len(versions) != 1:
        raise Problem(f"the crates have different versions: {', '.join(sorted(versions))}")
    (version,) = versions
    if tag is not None and tag != f"v{version}":
        raise Problem(f"tag {tag} does not fit: the workspace is {version}, so it wants tag v{version}")
    return version


def run(command: list[str], accept: str | None = None, **options: Any) -> str:
    """A command's output. `accept`: words of a failure that is none."""
    done = report.command(command, cwd=ROOT, **options)
    if done.returncode != 0 and not (accept and accept in done.stderr):
        raise Problem(f"`{' '.join(command)}` has failed with exit code {done.returncode}:\n{done.stderr.strip()}")
    if done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)
    return done.stdout


def publish(crates: list[Crate], dry: bool) -> None:
    if dry:
        # Cargo packs and builds them all, each against the others' packages.
        run(["cargo", "publish", "--workspace", "--locked", "--dry-run"])
        return
    for crate in order(crates):
        # Waits until the registry shows it.
        run(["cargo", "publish", "--locked", "--package", crate.name], accept="already exists")
        print(f"{crate.name} {crate.version} is published")


def system() -> str:
    """This machine, as the flake names it."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return f"{machine}-{platform.system().lower()}"


def pack(binaries: Path, folder: Path, version: str) -> Path:
    """An archive of the binaries that depends on nothing but them, and beside it its checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"tasker-{version}-{system()}"
    archive = folder / f"{name}.tar.gz"
    # Under its own name only once it is complete.
    part = folder / f"{name}.part"
    try:
        with (
            part.open("wb") as file,
            gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for binary in BINARIES:
                try:
                    content = (binaries / binary).open("rb")
                except OSError as error:
                    raise Problem(
                        f"{binaries / binary}: {error.strerror}; build it: cargo build --release --bins"
                    ) from error
                with content:
                    entry = tarfile.TarInfo(f"{name}/{binary}")
                    entry.size, entry.mode = (binaries / binary).stat().st_size, 0o755
                    tar.addfile(entry, content)
        checksum = hashlib.sha256(part.read_bytes()).hexdigest()
        part.replace(archive)
    finally:
        part.unlink(missing_ok=True)
    report.write(f"{archive}.sha256", f"{checksum}  {archive.name}\n")
    return archive


def push(image: str, archives: list[str], registry: str, version: str) -> str:
    """Pushes an image's archives and an index of them under the version's tag. Returns the digest of the index."""
    name = f"{registry.lower()}/tasker-{image}"
    digests = []
    with tempfile.TemporaryDirectory() as folder:
        for number, archive in enumerate(archives):
            written = Path(folder, str(number))
            # A tag for each system, because registries drop what has none.
            run(
                [
                    "skopeo",
                    "copy",
                    "--digestfile",
                    str(written),
                    f"docker-archive:{archive}",
                    f"docker://{name}:{version}-{number}",
                ]
            )
            digests.append(_digest(report.read(str(written)) if written.exists() else ""))
        run(
            [
                "docker",
                "buildx",
                "imagetools",
                "create",
                "--tag",
                f"{name}:{version}",
                *(f"{name}@{digest}" for digest in digests),
            ]
        )
        # The digest is that of each byte, so it must not pass as text.
        raw = Path(folder, "index")
        with raw.open("wb") as file:
            run(["skopeo", "inspect", "--raw", f"docker://{name}:{version}"], stdout=file)
        index = "sha256:" + hashlib.sha256(raw.read_bytes()).hexdigest()
        _check_index(report.read(str(raw)), digests, f"{name}:{version}")
    report.output("name", name)
    report.output("digest", index)
    print(f"{name}@{index}")
    return index


def _check_index(text: str, digests: list[str], source: str) -> None:
    """Refuses an index that is not one of these images."""
    try:
        found = [manifest["digest"] for manifest in report.parse_json(text, source)["manifests"]]
    except (LookupError, TypeError) as error:
        raise Problem(f"{source}: is not an index of images: {error!r}") from error
    if missing := [digest for digest in digests if digest not in found]:
        raise Problem(f"{source}: the index does not list {', '.join(missing)}, which was pushed")


def _digest(text: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text.strip()):
        raise Problem(f"skopeo gave {text!r} for a digest")
    return text.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="check versions and order").add_argument(
        "--tag", help="the tag of the release: v and the version"
    )
    commands.add_parser("order", help="print the crates in the order of publication")
    commands.add_parser("publish", help="publish the crates").add_argument(
        "--dry-run", action="store_true", help="upload nothing"
    )
    packing = commands.add_parser("pack", help="pack the binaries")
    packing.add_argument("binaries", type=Path, help="the folder with the binaries")
    packing.add_argument("folder", type=Path, help="where the archive goes")
    pushing = commands.add_parser("push", help="push an image")
    pushing.add_argument("image", help="its name without tasker-")
    pushing.add_argument("archives", nargs="+", help="the archive of each system")
    pushing.add_argument("--to", required=True, metavar="REGISTRY", help="host and owner")
    arguments = parser.parse_args()

    metadata = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    crates = parse(report.parse_json(run(metadata), "`cargo metadata`"))
    version = check(crates, getattr(arguments, "tag", None))
    match arguments.command:
        case "check":
            print(f"Tasker {version}: {len(order(crates))} crates can be published.")
        case "order":
            print("\n".join(crate.name for crate in order(crates)))
        case "publish":
            publish(crates, arguments.dry_run)
        case "pack":
            print(pack(arguments.binaries, arguments.folder, version))
        case "push":
            push(arguments.image, arguments.archives, arguments.to, version)
    return 0


if __name__ == "__main__":
    report.run(main)
