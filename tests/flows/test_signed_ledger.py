"""Whose ledger is believed: signatures, with real keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmops.domain.problems import Exit, Refused
from llmops.git.signatures import SigningPolicy, keys_at
from llmops.ledger import ledger
from tests.answers import outcome
from tests.conftest import Shell
from tests.keys import SshKey
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")


@pytest.fixture
def sealed(unsigned: Shell, ann: SshKey, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A ledger that Ann's reconciler signed from its begin, and in which something was made."""
    monkeypatch.setenv("LLMOPS_SIGNING_KEY", str(ann.path))
    assert unsigned("init") == Exit.WELL
    monkeypatch.setenv("LLMOPS_LEDGER_KEYS", str(ann.signers))
    assert unsigned("apply") == Exit.WELL
    return unsigned


REFS = ("refs/llmops/results", "refs/llmops/releases/local")


def test_what_a_reconciler_writes_is_signed(sealed: Shell) -> None:
    for ref in REFS:
        assert "gpgsig -----BEGIN SSH SIGNATURE-----" in sealed.repo.git("cat-file", "commit", ref)
    assert sealed("plan") == Exit.WELL
    assert sealed("fsck") == Exit.WELL
    assert "unsigned commits before the first signed one: 1." in sealed.out


@pytest.mark.parametrize("ref", REFS)
@pytest.mark.parametrize("command", ["plan", "apply", "status", "fsck", "doctor"])
def test_a_ledger_that_somebody_else_wrote_is_not_believed(sealed: Shell, ref: str, command: str) -> None:
    repo = sealed.repo
    foreign = repo.git("commit-tree", f"{ref}^{{tree}}", "-p", ref, "-m", "as if")
    repo.git("push", "--quiet", "origin", f"{foreign}:{ref}")
    before = [repo.git("rev-parse", one) for one in REFS]

    assert sealed(command) == Exit.NO
    assert "it is not signed" in sealed.err + sealed.out
    assert [repo.git("rev-parse", one) for one in REFS] == before


def test_an_empty_part_in_the_list_of_keys_is_no_key(
    sealed: Shell, ann: SshKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for keys in (f"{ann.signers}:", f":{ann.signers}", f"::{ann.signers}"):
        monkeypatch.setenv("LLMOPS_LEDGER_KEYS", keys)
        assert sealed("plan") == Exit.WELL, sealed.err
    monkeypatch.setenv("LLMOPS_LEDGER_KEYS", ":")  # two variables that were not set, and not a wish to believe anybody
    assert sealed("plan") == Exit.USAGE
    assert "names no key" in sealed.err


def test_fsck_lists_a_tip_that_is_not_believed_among_all_else_that_is_wrong(sealed: Shell) -> None:
    repo = sealed.repo
    for ref in REFS:
        foreign = repo.git("commit-tree", f"{ref}^{{tree}}", "-p", ref, "-m", "as if")
        repo.git("update-ref", ref, foreign)
    blob = next(path for path in (repo.workspace().folder / "store/objects").rglob("*") if path.is_file())
    blob.chmod(0o644)
    blob.write_text("rotten")

    found = {
        (one["where"], one["what"].partition(",")[0])
        for one in sealed.json("fsck", "--offline", code=Exit.NO)["findings"]
    }
    foreign = {ref: f"of commit {repo.git('rev-parse', ref)[:12]}" for ref in REFS}
    assert set(foreign.items()) <= found
    assert any("the file is corrupt" in what for _, what in found), found


def test_fsck_takes_nothing_from_a_remote_that_is_not_believed_and_looks_at_what_is_here(sealed: Shell) -> None:
    repo, ref = sealed.repo, REFS[0]
    foreign = repo.git("commit-tree", f"{ref}^{{tree}}", "-p", ref, "-m", "as if")
    repo.git("push", "--quiet", "origin", f"{foreign}:{ref}")
    before = repo.git("rev-parse", ref)

    problems = [one for one in sealed.json("fsck", code=Exit.NO)["findings"] if one["grade"] == "problem"]
    assert [one["where"] for one in problems] == ["origin"]
    assert "is not trusted" in problems[0]["what"]
    assert repo.git("rev-parse", ref) == before


def test_a_ledger_signed_by_another_key_is_not_believed(sealed: Shell, eve: SshKey) -> None:
    repo, ref = sealed.repo, REFS[1]
    foreign = repo.git(*eve.config, "commit-tree", "-S", f"{ref}^{{tree}}", "-p", ref, "-m", "as if")
    repo.git("update-ref", ref, foreign)

    assert sealed("plan", "--offline") == Exit.NO
    assert "a key that is not trusted here (SHA256:" in sealed.err


def test_nothing_of_a_ledger_is_read_before_it_is_verified(sealed: Shell) -> None:
    repo = sealed.repo
    (unit,) = ledger.outcomes(repo.ledger())
    seal = SigningPolicy(keys=keys_at([os.environ["LLMOPS_LEDGER_KEYS"]], repo.folder))
    where = ledger.locate(repo.open(), repo.workspace().settings.ledger, "local", seal)
    assert ledger.state(where) == ledger.state(repo.ledger())
    assert ledger.outcome(where, unit)
    for ref in REFS:
        repo.git("update-ref", ref, repo.git("commit-tree", f"{ref}^{{tree}}", "-p", ref, "-m", "as if"))

    for read in (
        lambda: ledger.state(where),
        lambda: ledger.outcome(where, unit),
        lambda: ledger.outcomes(where),
        lambda: ledger.units(where),
        lambda: list(ledger.state_history(where)),
        lambda: ledger.tips(where),
        lambda: ledger.publish_results(where),
    ):
        with pytest.raises(Refused, match="is not trusted"):
            read()


def test_the_commits_of_others_are_no_matter_of_the_ledgers_keys(sealed: Shell) -> None:
    assert sealed("gc") == Exit.WELL, sealed.err


def test_what_was_pushed_back_is_believed_again(sealed: Shell) -> None:
    repo, ref = sealed.repo, REFS[1]
    foreign = repo.git("commit-tree", f"{ref}^{{tree}}", "-p", ref, "-m", "as if")
    repo.git("push", "--quiet", "origin", f"{foreign}:{ref}")
    assert sealed("plan") == Exit.NO
    assert "push the last signed commit again" in sealed.err

    repo.git("push", "--quiet", "--force", "origin", f"{ref}:{ref}")

    assert sealed("plan") == Exit.WELL


def test_fsck_finds_what_was_slipped_in_below_the_tip(sealed: Shell, ann: SshKey) -> None:
    repo, ref = sealed.repo, REFS[1]
    foreign = repo.git("commit-tree", f"{ref}^{{tree}}", "-p", ref, "-m", "as if")
    signed = repo.git(*ann.config, "commit-tree", "-S", f"{ref}^{{tree}}", "-p", foreign, "-m", "on top")
    repo.git("push", "--quiet", "origin", f"{signed}:{ref}")

    assert sealed("plan") == Exit.WELL
    assert sealed("fsck") == Exit.NO
    assert f"of commit {foreign[:12]}, it is not signed." in sealed.out


def test_who_may_only_read_does_not_write(sealed: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLMOPS_SIGNING_KEY")
    sealed.repo.commit({"specs/flour.yaml": spec("Dish", "flour", "text: other")})

    assert sealed("plan") == Exit.WELL
    assert sealed("apply") == Exit.NO
    assert "Set LLMOPS_SIGNING_KEY to the key to sign with." in sealed.err


def test_a_key_that_readers_do_not_know_signs_nothing(
    sealed: Shell, eve: SshKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOPS_SIGNING_KEY", str(eve.path))
    sealed.repo.commit({"specs/flour.yaml": spec("Dish", "flour", "text: other")})
    before = [sealed.repo.git("rev-parse", ref) for ref in REFS]

    assert sealed("apply") == Exit.NO
    assert "what this run writes is not trusted" in sealed.err
    assert [sealed.repo.git("rev-parse", ref) for ref in REFS] == before


def test_a_key_that_cannot_sign_is_a_fault_with_a_remedy(
    unsigned: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("no key\n")
    wrong.chmod(0o600)
    monkeypatch.setenv("LLMOPS_SIGNING_KEY", str(wrong))

    assert unsigned("apply") == Exit.FAULT
    assert "Use an SSH private key without a passphrase" in unsigned.err


def test_a_ledger_that_was_not_signed_is_signed_by_init(
    unsigned: Shell, ann: SshKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unsigned("apply") == Exit.WELL
    monkeypatch.setenv("LLMOPS_LEDGER_KEYS", str(ann.signers))
    assert unsigned("plan") == Exit.NO
    assert "run `llmops init` once with LLMOPS_SIGNING_KEY and without LLMOPS_LEDGER_KEYS" in unsigned.err
    monkeypatch.delenv("LLMOPS_LEDGER_KEYS")
    monkeypatch.setenv("LLMOPS_SIGNING_KEY", str(ann.path))

    assert unsigned("init") == Exit.WELL
    assert "Signed the existing ledger: refs/llmops/results and refs/llmops/releases/local." in unsigned.out

    monkeypatch.setenv("LLMOPS_LEDGER_KEYS", str(ann.signers))
    assert unsigned("plan") == Exit.WELL
    assert unsigned("fsck") == Exit.WELL
    assert unsigned("init") == Exit.WELL
    assert "Signed" not in unsigned.out


def test_two_signed_writers_merge_by_union(sealed: Shell, tmp_path: Path) -> None:
    repo = sealed.repo
    seal = SigningPolicy(os.environ["LLMOPS_SIGNING_KEY"], keys_at([os.environ["LLMOPS_LEDGER_KEYS"]], repo.folder))
    other = repo.clone(tmp_path / "other")
    other.git("config", "user.name", "other")
    here, there = (ledger.locate(one.open(), repo.workspace().settings.ledger, "local", seal) for one in (repo, other))
    ledger.fetch(there)
    ledger.record(here, [outcome("1" * 64)], "m")
    ledger.record(there, [outcome("2" * 64)], "m")  # has not seen the other
    ledger.fetch(here)

    assert ledger.units(here) == ledger.units(there)
    assert sealed("fsck") == Exit.WELL
    assert "ledger: unite" in repo.git("log", "--format=%s", REFS[0])
