"""Bytes under their digest."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops.domain.problems import Broken
from llmops.store import blobs
from llmops.store.blobs import Entry, Store


@pytest.fixture(params=["file", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return blobs.open_at((tmp_path / "store").as_uri() if request.param == "file" else f"memory://{tmp_path.name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    (made / "sub").mkdir(parents=True)
    (made / "a").write_text("a\n")
    (made / "sub" / "b").write_text("b\n")
    return made


def test_bytes_come_back_by_their_sha256(kept: Store) -> None:
    digest = blobs.add_bytes(kept, b"hello")

    assert digest == hashlib.sha256(b"hello").hexdigest()
    assert blobs.read(kept, digest) == b"hello"


def test_a_folder_comes_back_as_it_was(kept: Store, folder: Path, tmp_path: Path) -> None:
    digest = blobs.add_folder(kept, folder)
    blobs.materialise(kept, digest, tmp_path / "out")

    assert (tmp_path / "out" / "a").read_text() == "a\n"
    assert (tmp_path / "out" / "sub" / "b").read_text() == "b\n"
    assert blobs.complete(kept, digest)


def test_the_same_folder_has_the_same_digest_in_every_store(folder: Path, tmp_path: Path) -> None:
    one = blobs.open_at((tmp_path / "one").as_uri())
    other = blobs.open_at("memory://other")

    assert blobs.add_folder(one, folder) == blobs.add_folder(other, folder)


def test_on_one_disk_files_are_linked_not_copied(folder: Path, tmp_path: Path) -> None:
    kept = blobs.open_at((tmp_path / "store").as_uri())
    digest = blobs.add_folder(kept, folder)
    blobs.materialise(kept, digest, tmp_path / "out")

    assert (folder / "a").samefile(tmp_path / "out" / "a")
    assert not os.access(tmp_path / "out" / "a", os.W_OK) or os.geteuid() == 0
    assert (tmp_path / "out" / "a").stat().st_mode & 0o222 == 0


def test_what_is_missing_says_so(kept: Store) -> None:
    with pytest.raises(Broken, match="not in the store"):
        blobs.read(kept, "0" * 64)


def test_a_corrupted_blob_is_found_by_its_digest_and_not_used(tmp_path: Path) -> None:
    kept = blobs.open_at((tmp_path / "store").as_uri())
    digest = blobs.add_bytes(kept, b"hello")
    blob = tmp_path / "store" / "objects" / digest[:2] / digest[2:]
    blob.chmod(0o644)
    blob.write_bytes(b"jello")

    with pytest.raises(Broken, match="corrupt"):
        blobs.read(kept, digest)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """A disk that takes a file's bytes, and not its name; it says so."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            yield


def test_a_half_written_file_is_never_seen(tmp_path: Path) -> None:
    kept = blobs.open_at((tmp_path / "store").as_uri())

    with full_disk():
        blobs.add_bytes(kept, b"hello")

    assert not blobs.has(kept, hashlib.sha256(b"hello").hexdigest())
    assert blobs.read(kept, blobs.add_bytes(kept, b"hello")) == b"hello"


def test_what_a_full_disk_broke_off_is_removed(tmp_path: Path, folder: Path) -> None:
    kept = blobs.open_at((tmp_path / "store").as_uri())

    with full_disk():
        blobs.add_bytes(kept, b"hello")
    with full_disk():
        blobs.add_file(kept, str(folder / "a"))

    assert list((tmp_path / "store").rglob("objects/*/*")) == []


@pytest.mark.parametrize("size", [0, blobs.SMALL, blobs.SMALL + 1, 2**20])
def test_a_file_of_any_size_is_kept_under_its_sha256_as_of_now(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    os.utime(path, (1, 1))
    kept = blobs.open_at((tmp_path / "store").as_uri())

    entry = blobs.add_file(kept, str(path))
    (listed,) = blobs.listing(kept)

    assert entry == Entry(hashlib.sha256(path.read_bytes()).hexdigest(), size)
    assert (listed.digest, listed.size) == (entry.sha256, size)
    assert listed.time > time.time() - 60


def test_a_file_of_somebody_else_is_copied(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = blobs.open_at((tmp_path / "store").as_uri())
    mine = os.chmod

    def refuse(path: str, mode: int) -> None:
        if Path(path).samefile(folder / "a"):
            raise PermissionError(1, "Operation not permitted")
        mine(path, mode)

    monkeypatch.setattr(os, "chmod", refuse)
    entry = blobs.add_file(kept, str(folder / "a"))

    assert blobs.read(kept, entry.sha256) == b"a\n"
    assert (folder / "a").stat().st_nlink == 1


def test_a_folder_whose_file_is_gone_is_not_complete(folder: Path, tmp_path: Path) -> None:
    kept = blobs.open_at((tmp_path / "store").as_uri())
    digest = blobs.add_folder(kept, folder)
    gone = blobs.manifest(kept, digest).files["a"].sha256
    (tmp_path / "store" / "objects" / gone[:2] / gone[2:]).unlink()

    assert not blobs.complete(kept, digest)


@pytest.mark.parametrize("start", ["{folder}/", ""], ids=["absolute", "relative"])
def test_what_a_link_leads_to_is_kept_not_the_link(folder: Path, tmp_path: Path, start: str) -> None:
    (folder / "link").symlink_to(f"{start.format(folder=folder)}sub/b")
    (folder / "sub" / "b").write_text("behind a link\n")
    kept = blobs.open_at((tmp_path / "store").as_uri())

    digest = blobs.add_folder(kept, folder)
    blobs.materialise(kept, digest, tmp_path / "out")

    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_symlink()]
    assert (tmp_path / "out" / "link").read_text() == "behind a link\n"
    assert not (tmp_path / "out" / "link").is_symlink()


def test_a_link_out_of_the_folder_is_refused(kept: Store, folder: Path) -> None:
    (folder / "passwd").symlink_to("/etc/passwd")

    with pytest.raises(Broken, match="link out of its folder"):
        blobs.add_folder(kept, folder)


def test_a_manifest_that_names_a_path_outside_is_not_used(kept: Store, tmp_path: Path) -> None:
    blob = blobs.add_bytes(kept, b"x")
    evil = blobs.add_bytes(kept, f'{{"files": {{"../evil": {{"sha256": "{blob}", "size": 1}}}}}}'.encode())

    with pytest.raises(Broken, match="outside"):
        blobs.materialise(kept, evil, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_an_executable_stays_one(folder: Path, tmp_path: Path) -> None:
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    kept = blobs.open_at((tmp_path / "store").as_uri())
    blobs.materialise(kept, blobs.add_folder(kept, folder), tmp_path / "out")

    assert os.access(tmp_path / "out" / "run", os.X_OK)


@pytest.mark.parametrize(
    ("url", "words"), [("s3://bucket/llmops", "Install s3fs"), ("nothing://x", "Protocol not known")]
)
def test_a_store_that_cannot_be_opened_says_why(url: str, words: str) -> None:
    with pytest.raises(Broken, match=words):
        blobs.open_at(url)


def test_what_was_kept_can_be_asked_to_be_on_the_disk(tmp_path: Path) -> None:
    kept = blobs.open_at(tmp_path.as_uri())
    blobs.add_bytes(kept, b"some")

    blobs.settle(kept)
    with pytest.raises(Broken, match=r"could not be written to the disk: No such file or directory\. Check that disk"):
        blobs.settle(blobs.open_at((tmp_path / "away").as_uri()))
