"""A disk that is full, or that nothing can be written to: a fault that names the place, and the next run goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests.conftest import SOAK, Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")

PAGE = 4096
"""What a tmpfs gives at once."""
WHOLE = 80
"""Pages with which every command ends well."""


class Disk:
    """A small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def leave(self, pages: int) -> None:
        """Fill it but for some pages."""
        self.free()
        left = os.statvfs(self.folder)
        with (self.folder / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, max(left.f_bavail * left.f_frsize - pages * PAGE, 1))

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)

    def mount(self, *options: str) -> None:
        command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    made.folder.mkdir()
    made.mount("-o", "size=8m")
    yield made
    subprocess.run(["umount", "--lazy", str(made.folder)], check=True)


def menu(store: str = "") -> dict[str, str]:
    settings = f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {{{store}}}\n"
    return {
        "llmops.yaml": settings,
        "specs/soup.yaml": spec("Dish", "soup", "text: soup"),
        "specs/pie.yaml": spec("Dish", "pie", "{text: pie, of: [soup]}"),
    }


@pytest.fixture
def on_disk(disk: Disk, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A repository on the disk; its remote is elsewhere."""
    repo = Repo(disk.folder)
    shutil.move(repo.remote, disk.folder.parent / "remote.git")
    repo.remote = disk.folder.parent / "remote.git"
    repo.git("remote", "set-url", "origin", str(repo.remote))
    repo.commit(menu())
    return Shell(repo, capsys)


def places(*few: int) -> range | tuple[int, ...]:
    return range(WHOLE) if SOAK else few


def assert_fault_names(shell: Shell, code: int, place: Path) -> None:
    assert code in (Exit.WELL, Exit.FAULT), shell.err
    if code == Exit.FAULT:
        said = shell.err.strip().splitlines()
        assert any(str(place) in line for line in said), shell.err
        assert any(word in shell.err for word in ("Make space", "Free space", "free space", "full?")), shell.err
    assert "Traceback" not in shell.err
    assert "llmops itself failed" not in shell.err


@pytest.mark.parametrize("pages", places(0, 5, 25, 40))
def test_init_goes_on_when_there_is_space_again(pages: int, on_disk: Shell, disk: Disk) -> None:
    disk.leave(pages)
    code = on_disk("init")
    assert_fault_names(on_disk, code, disk.folder)
    disk.free()

    assert on_disk("init") == Exit.WELL

    workflow = on_disk.repo.folder / ".github" / "workflows" / "llmops.yml"
    assert workflow.read_text() == resources.files("llmops").joinpath("scaffold/workflow.yml").read_text(), (
        "half of a file was kept"
    )
    on_disk.is_clean()


@pytest.mark.parametrize("command", ["check", "plan"])
def test_what_only_looks_needs_no_space(command: str, on_disk: Shell, disk: Disk) -> None:
    assert on_disk("init") == Exit.WELL
    for pages in places(0, 3, 20):
        on_disk.repo.commit({"specs/more.yaml": spec("Dish", f"d{pages}", "text: more")})
        disk.leave(pages)
        assert on_disk(command) == Exit.WELL, on_disk.err
        disk.free()
    on_disk.is_clean()


@pytest.mark.parametrize("pages", places(0, 36, 42, 50))
def test_apply_goes_on_when_there_is_space_again(pages: int, on_disk: Shell, disk: Disk) -> None:
    assert on_disk("init") == Exit.WELL
    disk.leave(pages)
    code = on_disk("apply")
    assert_fault_names(on_disk, code, disk.folder)
    disk.free()

    on_disk.is_clean()

    left = [path.name for path in (on_disk.repo.folder / ".git").glob("fast_import_crash_*")]
    assert left == []


@pytest.fixture
def store_on_disk(repo: Repo, llmops: Shell, disk: Disk) -> Shell:
    repo.commit(menu(f"store: {{url: 'file://{disk.folder}/store'}}"))
    assert llmops("init") == Exit.WELL
    return llmops


@pytest.mark.parametrize("pages", range(5) if SOAK else (0, 1))
def test_a_store_that_is_full_is_named_and_what_was_half_written_goes(
    pages: int, store_on_disk: Shell, disk: Disk
) -> None:
    disk.leave(pages)
    code = store_on_disk("apply")
    assert_fault_names(store_on_disk, code, disk.folder / "store")
    assert [path for path in disk.folder.rglob("objects/*/*") if path.stat().st_size == 0] == []
    disk.free()

    store_on_disk.is_clean()


def test_a_store_that_is_read_only_is_named(store_on_disk: Shell, disk: Disk) -> None:
    assert store_on_disk("apply") == Exit.WELL
    store_on_disk.repo.commit({"specs/tart.yaml": spec("Dish", "tart", "{text: tart, of: [pie]}")})
    disk.mount("-o", "remount,ro")

    assert store_on_disk("plan") == Exit.WELL
    assert store_on_disk("fsck") == Exit.WELL
    assert store_on_disk("apply") == Exit.FAULT
    assert str(disk.folder / "store") in store_on_disk.err
    assert "Read-only file system. Make it writable" in store_on_disk.err

    disk.mount("-o", "remount,rw")
    store_on_disk.is_clean()


def test_a_git_directory_that_is_read_only_is_named(on_disk: Shell, disk: Disk) -> None:
    assert run(on_disk.repo, "init").returncode == Exit.WELL
    disk.mount("-o", "remount,ro")

    assert run(on_disk.repo, "check").returncode == Exit.WELL
    assert run(on_disk.repo, "plan").returncode == Exit.WELL
    refused = run(on_disk.repo, "apply")
    assert refused.returncode == Exit.FAULT
    assert f"{on_disk.repo.folder}/.git" in refused.stderr
    assert "Traceback" not in refused.stderr

    disk.mount("-o", "remount,rw")
    on_disk.is_clean()


def run(repo: Repo, word: str) -> subprocess.CompletedProcess[str]:
    """Run llmops in a process of its own: no index that this one has open keeps the disk from being remounted."""
    command = [sys.executable, "-m", "tests.crashing", "nowhere", "0", str(repo.folder), word]
    return subprocess.run(command, capture_output=True, text=True, check=False)
