"""Whose commits are run: signatures, with real keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests.conftest import Shell
from tests.keys import GpgKey, SshKey, forge, sign
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")


SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {%s}\n"


def trusting(key: SshKey, level: str = "head") -> tuple[str, ...]:
    return "--trust", level, "--trusted-keys", str(key.signers)


def test_a_signed_commit_is_applied_and_an_unsigned_one_is_refused(unsigned: Shell, ann: SshKey, plugins: Path) -> None:
    assert unsigned("apply", *trusting(ann)) == Exit.NO
    assert "it is not signed. Sign your own commits with `git commit --amend --no-edit -S`" in unsigned.err
    assert plugins.read_text() == ""

    sign(unsigned.repo, ann)

    assert unsigned("apply", *trusting(ann)) == Exit.WELL
    assert "done" in plugins.read_text()


def test_a_signature_of_another_key_is_refused_by_the_name_of_the_key(
    unsigned: Shell, ann: SshKey, eve: SshKey
) -> None:
    sign(unsigned.repo, eve)

    assert unsigned("apply", *trusting(ann)) == Exit.NO
    assert "it is signed by a key that is not trusted here (SHA256:" in unsigned.err
    assert f"Add the key to {ann.signers} if you trust it." in unsigned.err


def test_a_commit_that_was_changed_after_it_was_signed_is_refused(unsigned: Shell, ann: SshKey) -> None:
    forge(unsigned.repo, sign(unsigned.repo, ann, "well meant"), "well meant", "ill meant")

    assert unsigned("apply", *trusting(ann)) == Exit.NO
    assert "it was changed after it was signed" in unsigned.err
    assert "Find out who changed it before you sign it." in unsigned.err


def test_a_key_whose_time_is_over_is_said_to_be_so(unsigned: Shell, ann: SshKey, tmp_path: Path) -> None:
    over = tmp_path / "over"
    over.write_text(ann.line('valid-before="20200101"'))
    sign(unsigned.repo, ann)

    assert unsigned("apply", "--trust", "head", "--trusted-keys", str(over)) == Exit.NO
    assert "a key that was not valid then or is not any more" in unsigned.err


def test_gpg_signatures_count_by_the_keys_of_a_home(unsigned: Shell, tmp_path: Path) -> None:
    bob, mallory = GpgKey(tmp_path / "bob", "bob"), GpgKey(tmp_path / "mallory", "mallory")
    known = str(bob.public(tmp_path / "known"))

    sign(unsigned.repo, mallory)
    assert unsigned("apply", "--trust", "head", "--trusted-keys", known) == Exit.NO
    assert f"not trusted here ({mallory.id[-16:]})" in unsigned.err
    forge(unsigned.repo, sign(unsigned.repo, bob, "well meant"), "well meant", "ill meant")
    assert unsigned("apply", "--trust", "head", "--trusted-keys", known) == Exit.NO
    assert "it was changed after it was signed" in unsigned.err
    sign(unsigned.repo, bob)
    assert unsigned("apply", "--trust", "head", "--trusted-keys", known) == Exit.WELL


def test_the_keys_of_the_user_do_not_count_when_others_are_given(
    unsigned: Shell, ann: SshKey, eve: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = GpgKey(tmp_path / "bob", "bob")
    monkeypatch.setenv("GNUPGHOME", str(bob.home))
    unsigned.repo.git("config", "gpg.ssh.allowedSignersFile", str(eve.signers))

    for key in (bob, eve):
        sign(unsigned.repo, key)
        assert unsigned("apply", *trusting(ann)) == Exit.NO


def test_strict_asks_for_every_commit_since_the_one_applied_last(unsigned: Shell, ann: SshKey) -> None:
    sign(unsigned.repo, ann)
    assert unsigned("apply", *trusting(ann, "strict")) == Exit.NO  # the first commits were not
    assert unsigned("apply", *trusting(ann)) == Exit.WELL
    sign(unsigned.repo, ann)
    assert unsigned("apply", *trusting(ann, "strict")) == Exit.WELL
    unsigned.repo.commit(message="by a stranger")
    sign(unsigned.repo, ann)

    assert unsigned("apply", *trusting(ann)) == Exit.WELL
    unsigned.repo.commit(message="by another stranger")
    sign(unsigned.repo, ann)
    assert unsigned("apply", *trusting(ann, "strict")) == Exit.NO
    assert "(by another stranger): it is not signed" in unsigned.err
    assert "(by a stranger):" not in unsigned.err


def test_strict_asks_for_the_commits_of_a_merged_branch(unsigned: Shell, ann: SshKey) -> None:
    repo = unsigned.repo
    sign(repo, ann)
    assert unsigned("apply", *trusting(ann)) == Exit.WELL
    repo.git("switch", "--quiet", "--create", "side")
    repo.commit(message="on the side")
    repo.git("switch", "--quiet", "main")
    repo.git(*ann.config, "merge", "--quiet", "--no-ff", "--gpg-sign", "side")

    assert unsigned("apply", *trusting(ann, "strict")) == Exit.NO
    assert "(on the side): it is not signed" in unsigned.err
    assert unsigned("apply", *trusting(ann)) == Exit.WELL


def test_strict_does_not_stop_where_a_clone_does(unsigned: Shell, ann: SshKey, tmp_path: Path) -> None:
    repo = unsigned.repo
    sign(repo, ann)
    assert unsigned("apply", *trusting(ann)) == Exit.WELL
    repo.commit(message="by a stranger")
    sign(repo, ann)
    repo.git("push", "--quiet")
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")

    there = Shell(shallow, unsigned.capsys)
    assert there("apply", *trusting(ann, "strict")) == Exit.NO
    assert "git fetch --unshallow" in there.err


def test_a_commit_cannot_weaken_the_rule_that_it_is_judged_by(unsigned: Shell, ann: SshKey) -> None:
    repo, keys = unsigned.repo, ("--trusted-keys", str(ann.signers))
    repo.write({"llmops.yaml": SETTINGS % "trust: head"})
    sign(repo, ann)
    assert unsigned("apply", *keys) == Exit.WELL
    repo.commit({"llmops.yaml": SETTINGS % "trust: none"})

    assert unsigned("apply", *keys) == Exit.NO
    assert "(trust: head)" in unsigned.err
    sign(repo, ann)
    assert unsigned("apply", *keys) == Exit.WELL
    repo.commit(message="now anybody may")
    assert unsigned("apply") == Exit.WELL


def test_the_settings_cannot_ask_for_less_than_whoever_runs_it(
    unsigned: Shell, ann: SshKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned.repo.commit({"llmops.yaml": SETTINGS % "trust: none"})
    monkeypatch.setenv("LLMOPS_TRUST", "head")
    monkeypatch.setenv("LLMOPS_TRUSTED_KEYS", str(ann.signers))

    assert unsigned("apply") == Exit.NO
    assert unsigned("apply", "--trust", "none") == Exit.NO
    sign(unsigned.repo, ann)
    assert unsigned("apply") == Exit.WELL


@pytest.mark.parametrize("word", ["hed", "HEAD"])
def test_a_level_that_is_none_is_wrong_usage(unsigned: Shell, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOPS_TRUST", word)

    assert unsigned("apply") == Exit.USAGE
    assert f"LLMOPS_TRUST is {word}." in unsigned.err


def test_settings_that_ask_for_signatures_are_of_no_use_without_keys(unsigned: Shell, ann: SshKey) -> None:
    unsigned.repo.write({"llmops.yaml": SETTINGS % "trust: head"})
    sign(unsigned.repo, ann)

    assert unsigned("apply") == Exit.NO
    assert "No trusted keys are configured: pass --trusted-keys FILE, or set LLMOPS_TRUSTED_KEYS." in unsigned.err


def test_keys_within_the_repository_are_refused(unsigned: Shell, ann: SshKey, tmp_path: Path) -> None:
    repo = unsigned.repo
    repo.write({"keys/signers": ann.signers.read_text()})
    sign(repo, ann)
    link = tmp_path / "link"
    link.symlink_to(repo.folder / "keys" / "signers")

    for path in (repo.folder / "keys" / "signers", link):
        assert unsigned("apply", "--trust", "head", "--trusted-keys", str(path)) == Exit.USAGE
        assert "where a commit could change the keys that verify it" in unsigned.err
    assert unsigned("apply", "--trust", "head", "--trusted-keys", str(tmp_path / "none")) == Exit.USAGE
    assert "there are no keys at" in unsigned.err


def test_a_plan_is_shown_under_a_note_and_not_kept(unsigned: Shell, ann: SshKey, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"

    assert unsigned("plan", *trusting(ann)) == Exit.WELL
    assert "Note: `llmops apply` will refuse this: commit " in unsigned.out
    assert "Dish/flour" in unsigned.out
    assert unsigned("plan", "--out", str(out), *trusting(ann)) == Exit.NO
    assert not out.exists()
    assert unsigned("plan", "--worktree", *trusting(ann)) == Exit.WELL
    assert "refuse" not in unsigned.out


def test_a_plan_that_was_kept_is_verified_again(unsigned: Shell, ann: SshKey, tmp_path: Path) -> None:
    out = str(tmp_path / "plan.json")
    assert unsigned("plan", "--out", out) == Exit.WELL

    assert unsigned("apply", out, *trusting(ann)) == Exit.NO
    assert unsigned("apply", out) == Exit.WELL


def test_a_gate_runs_nothing_of_an_untrusted_branch(unsigned: Shell, ann: SshKey, plugins: Path) -> None:
    repo = unsigned.repo
    repo.git("switch", "--quiet", "--create", "change")
    repo.commit({"specs/flour.yaml": spec("Dish", "flour", "text: other")})
    gate = ("gate", "--base", "main", *trusting(ann))

    assert unsigned(*gate, "--dry-run") == Exit.WELL
    assert "will refuse to run this" in unsigned.err
    assert unsigned(*gate) == Exit.NO
    assert "is not trusted" in unsigned.err
    sign(repo, ann)
    assert unsigned(*gate) == Exit.WELL


def test_a_replacement_is_not_verified_instead_of_the_commit(unsigned: Shell, ann: SshKey) -> None:
    repo = unsigned.repo
    good = sign(repo, ann)
    bad = repo.commit({"specs/flour.yaml": spec("Dish", "flour", "text: poison")})
    repo.git("replace", bad, good)

    assert unsigned("apply", *trusting(ann)) == Exit.NO
