"""Harm to the store: what fsck finds and makes good."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmops.domain.problems import Broken, Exit
from llmops.domain.resources import Key
from llmops.store import blobs
from tests.conftest import Shell
from tests.maintenance import files_of, fsck, kept, outcome, stored
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")


def test_fsck_says_that_what_is_live_is_incomplete(live: Shell) -> None:
    model = outcome(live, Key("Deployment", "chat")).outputs["model"]
    (stored(live)[model]).unlink()

    assert live("fsck") == Exit.NO
    assert "Deployment/chat in local is live and depends on it" in live.out


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_sound_repository_is_clean(kitchen: Shell) -> None:
    assert kitchen("fsck") == Exit.WELL
    assert "No problems." in kitchen.out
    assert fsck(kitchen, "--quick")["findings"] == []


@pytest.mark.parametrize("harm", ["corrupted", "truncated", "missing"])
@pytest.mark.parametrize("what", ["manifest", "file"])
def test_harm_to_the_store_is_found_and_made_good(kitchen: Shell, plugins: Path, what: str, harm: str) -> None:
    dough = outcome(kitchen, Key("Dish", "dough"))
    manifest = dough.outputs["text"]
    digest = manifest if what == "manifest" else next(iter(files_of(kitchen, dough) - {manifest}))
    path = stored(kitchen)[digest]
    data = path.read_bytes()
    {
        "corrupted": lambda: spoil(path, data[:-1] + b"?"),
        "truncated": lambda: spoil(path, data[:-1]),
        "missing": path.unlink,
    }[harm]()

    if harm != "missing":
        assert kitchen("fsck") == Exit.NO
        assert str(path) in kitchen.out
        assert "llmops fsck --repair" in kitchen.out
        assert path.exists()
    found = fsck(kitchen, "--repair")
    assert found["clean"]
    assert "is rebuilt when it is needed" in found["findings"][-1]["remedy"]
    assert not path.exists()

    kitchen.repo.commit({"specs/cake.yaml": spec("Dish", "cake", "{text: cake, of: [dough]}")})
    plugins.write_text("")
    assert kitchen("apply") == Exit.WELL
    assert "done Dish/dough" in plugins.read_text()
    assert fsck(kitchen)["findings"] == []


def test_bytes_that_are_not_what_they_should_be_are_never_used(kitchen: Shell, plugins: Path) -> None:
    dough = outcome(kitchen, Key("Dish", "dough"))
    (digest,) = files_of(kitchen, dough) - set(dough.outputs.values())
    spoil(stored(kitchen)[digest], b"d0ugh flour")
    target = kitchen.repo.folder.parent / "plate"

    with pytest.raises(Broken, match=r"is corrupt: .*`llmops fsck --repair`"):
        blobs.materialise(kept(kitchen), dough.outputs["text"], target)

    assert list(target.iterdir()) == []


def test_a_result_that_was_cut_short_is_made_again_without_a_repair(kitchen: Shell, plugins: Path) -> None:
    """As a machine leaves it that lost its power."""
    dough = outcome(kitchen, Key("Dish", "dough"))
    (digest,) = files_of(kitchen, dough) - set(dough.outputs.values())
    spoil(stored(kitchen)[digest], b"")
    kitchen.repo.commit({"specs/cake.yaml": spec("Dish", "cake", "{text: cake, of: [dough]}")})
    plugins.write_text("")

    assert kitchen("apply") == Exit.WELL

    assert plugins.read_text().count("done Dish/dough") == 1
    kitchen.is_clean()


BROKEN_OFF = """
import os, signal, sys
from llmops.host import disk
from llmops.store import blobs as store
def half(self, path, data):
    open(path, "wb").write(data[:1])
    os.kill(os.getpid(), signal.SIGKILL)
disk.Disk.pipe_file = half
store.add_bytes(store.open_at(sys.argv[1]), b"two")
"""


def test_a_write_that_was_killed_leaves_what_fsck_finds(kitchen: Shell) -> None:
    subprocess.run([sys.executable, "-c", BROKEN_OFF, kept(kitchen).url], check=False)
    (left,) = (Path(one.path) for one in blobs.listing(kept(kitchen)) if not one.digest)
    assert fsck(kitchen)["findings"] == [], "another process may be writing it"
    os.utime(left, (time.time() - 7200, time.time() - 7200))

    assert [one["where"] for one in fsck(kitchen, "--repair")["findings"]] == [str(left)]
    assert not left.exists()


def test_a_quick_look_finds_what_is_too_short_and_reads_no_file(kitchen: Shell) -> None:
    dough = outcome(kitchen, Key("Dish", "dough"))
    (digest,) = files_of(kitchen, dough) - set(dough.outputs.values())
    path = stored(kitchen)[digest]
    data = path.read_bytes()

    spoil(path, data[:-1] + b"?")
    assert fsck(kitchen, "--quick")["findings"] == []
    spoil(path, data[:-1])
    (found,) = fsck(kitchen, "--quick")["findings"]
    assert "bytes; " in found["what"]


def test_writes_that_were_broken_off_an_hour_ago_are_found_and_removed(kitchen: Shell) -> None:
    path = next(iter(stored(kitchen).values()))
    old, new = (path.with_name(f"{path.name}.{mark * 16}") for mark in "01")
    for partial in (old, new):
        partial.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))

    (found,) = fsck(kitchen)["findings"]
    assert (found["grade"], found["where"]) == ("note", str(old))
    fsck(kitchen, "--repair")

    assert (old.exists(), new.exists()) == (False, True)


def test_fsck_needs_no_network_when_it_is_told_so(kitchen: Shell) -> None:
    kitchen.repo.remote.rename(kitchen.repo.remote.with_name("away.git"))

    assert kitchen("fsck") == Exit.FAULT
    assert kitchen("fsck", "--offline") == Exit.WELL
