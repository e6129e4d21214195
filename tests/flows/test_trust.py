"""Who may say what is run: signed commits and a signed ledger, with real keys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llmops.domain.problems import Exit, Refused
from llmops.git.signatures import SigningPolicy, keys_at
from llmops.ledger import ledger
from tests.conftest import Shell
from tests.keys import GpgKey, SshKey, forge, sign
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")

SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {%s}\n"


@pytest.fixture(scope="session")
def ann(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey(tmp_path_factory.mktemp("ann"), "ann")


@pytest.fixture(scope="session")
def eve(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey(tmp_path_factory.mktemp("eve"), "eve")


@pytest.fixture
def kitchen(repo: Repo, llmops: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("LLMOPS_TRUST", "LLMOPS_TRUSTED_KEYS", "LLMOPS_SIGNING_KEY", "LLMOPS_LEDGER_KEYS"):
        monkeypatch.delenv(name, raising=False)
    repo.commit({"specs/flour.yaml": spec("Dish", "flour", "text: flour")})
    assert llmops("init") == Exit.WELL
    repo.commit(message="what init wrote")
    return llmops


def trusting(key: SshKey, level: str = "head") -> tuple[str, ...]:
    return "--trust", level, "--trusted-keys", str(key.signers)


# Commits


def test_a_signed_commit_is_applied_and_an_unsigned_one_is_refused(kitchen: Shell, ann: SshKey, plugins: Path) -> None:
    assert kitchen("apply", *trusting(ann)) == Exit.NO
    assert "it is not signed. Sign your own commits with `git commit --amend --no-edit -S`" in kitchen.err
    assert plugins.read_text() == ""

    sign(kitchen.repo, ann)

    assert kitchen("apply", *trusting(ann)) == Exit.WELL
    assert "done" in plugins.read_text()


def test_a_signature_of_another_key_is_refused_by_the_name_of_the_key(kitchen: Shell, ann: SshKey, eve: SshKey) -> None:
    sign(kitchen.repo, eve)

    assert kitchen("apply", *trusting(ann)) == Exit.NO
    assert "it is signed by a key that is not trusted here (SHA256:" in kitchen.err
    assert f"Add the key to {ann.signers} if you trust it." in kitchen.err


def test_a_commit_that_was_changed_after_it_was_signed_is_refused(kitchen: Shell, ann: SshKey) -> None:
    forge(kitchen.repo, sign(kitchen.repo, ann, "well meant"), "well meant", "ill meant")

    assert kitchen("apply", *trusting(ann)) == Exit.NO
    assert "it was changed after it was signed" in kitchen.err
    assert "Find out who changed it before you sign it." in kitchen.err


def test_a_key_whose_time_is_over_is_said_to_be_so(kitchen: Shell, ann: SshKey, tmp_path: Path) -> None:
    over = tmp_path / "over"
    over.write_text(ann.line('valid-before="20200101"'))
    sign(kitchen.repo, ann)

    assert kitchen("apply", "--trust", "head", "--trusted-keys", str(over)) == Exit.NO
    assert "a key that was not valid then or is not any more" in kitchen.err


def test_gpg_signatures_count_by_the_keys_of_a_home(kitchen: Shell, tmp_path: Path) -> None:
    bob, mallory = GpgKey(tmp_path / "bob", "bob"), GpgKey(tmp_path / "mallory", "mallory")
    known = str(bob.public(tmp_path / "known"))

    sign(kitchen.repo, mallory)
    assert kitchen("apply", "--trust", "head", "--trusted-keys", known) == Exit.NO
    assert f"not trusted here ({mallory.id[-16:]})" in kitchen.err
    forge(kitchen.repo, sign(kitchen.repo, bob, "well meant"), "well meant", "ill meant")
    assert kitchen("apply", "--trust", "head", "--trusted-keys", known) == Exit.NO
    assert "it was changed after it was signed" in kitchen.err
    sign(kitchen.repo, bob)
    assert kitchen("apply", "--trust", "head", "--trusted-keys", known) == Exit.WELL


def test_the_keys_of_the_user_do_not_count_when_others_are_given(
    kitchen: Shell, ann: SshKey, eve: SshKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = GpgKey(tmp_path / "bob", "bob")
    monkeypatch.setenv("GNUPGHOME", str(bob.home))
    kitchen.repo.git("config", "gpg.ssh.allowedSignersFile", str(eve.signers))

    for key in (bob, eve):
        sign(kitchen.repo, key)
        assert kitchen("apply", *trusting(ann)) == Exit.NO


def test_strict_asks_for_every_commit_since_the_one_applied_last(kitchen: Shell, ann: SshKey) -> None:
    sign(kitchen.repo, ann)
    assert kitchen("apply", *trusting(ann, "strict")) == Exit.NO  # the first commits were not
    assert kitchen("apply", *trusting(ann)) == Exit.WELL
    sign(kitchen.repo, ann)
    assert kitchen("apply", *trusting(ann, "strict")) == Exit.WELL
    kitchen.repo.commit(message="by somebody")
    sign(kitchen.repo, ann)

    assert kitchen("apply", *trusting(ann)) == Exit.WELL
    kitchen.repo.commit(message="by somebody else")
    sign(kitchen.repo, ann)
    assert kitchen("apply", *trusting(ann, "strict")) == Exit.NO
    assert "(by somebody else): it is not signed" in kitchen.err
    assert "(by somebody):" not in kitchen.err


def test_strict_asks_for_the_commits_of_a_merged_branch(kitchen: Shell, ann: SshKey) -> None:
    repo = kitchen.repo
    sign(repo, ann)
    assert kitchen("apply", *trusting(ann)) == Exit.WELL
    repo.git("switch", "--quiet", "--create", "side")
    repo.commit(message="on the side")
    repo.git("switch", "--quiet", "main")
    repo.git(*ann.config, "merge", "--quiet", "--no-ff", "--gpg-sign", "side")

    assert kitchen("apply", *trusting(ann, "strict")) == Exit.NO
    assert "(on the side): it is not signed" in kitchen.err
    assert kitchen("apply", *trusting(ann)) == Exit.WELL


def test_strict_does_not_stop_where_a_clone_does(kitchen: Shell, ann: SshKey, tmp_path: Path) -> None:
    repo = kitchen.repo
    sign(repo, ann)
    assert kitchen("apply", *trusting(ann)) == Exit.WELL
    repo.commit(message="by somebody")
    sign(repo, ann)
    repo.git("push", "--quiet")
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")

    there = Shell(shallow, kitchen.capsys)
    assert there("apply", *trusting(ann, "strict")) == Exit.NO
    assert "git fetch --unshallow" in there.err


def test_a_commit_cannot_weaken_the_rule_that_it_is_judged_by(kitchen: Shell, ann: SshKey) -> None:
    repo, keys = kitchen.repo, ("--trusted-keys", str(ann.signers))
    repo.write({"llmops.yaml": SETTINGS % "trust: head"})
    sign(repo, ann)
    assert kitchen("apply", *keys) == Exit.WELL
    repo.commit({"llmops.yaml": SETTINGS % "trust: none"})

    assert kitchen("apply", *keys) == Exit.NO
    assert "(trust: head)" in kitchen.err
    sign(repo, ann)
    assert kitchen("apply", *keys) == Exit.WELL
    repo.commit(message="now anybody may")
    assert kitchen("apply") == Exit.WELL


def test_the_settings_cannot_ask_for_less_than_whoever_runs_it(
    kitchen: Shell, ann: SshKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.repo.commit({"llmops.yaml": SETTINGS % "trust: none"})
    monkeypatch.setenv("LLMOPS_TRUST", "head")
    monkeypatch.setenv("LLMOPS_TRUSTED_KEYS", str(ann.signers))

    assert kitchen("apply") == Exit.NO
    assert kitchen("apply", "--trust", "none") == Exit.NO
    sign(kitchen.repo, ann)
    assert kitchen("apply") == Exit.WELL


@pytest.mark.parametrize("word", ["hed", "HEAD"])
def test_a_level_that_is_none_is_wrong_usage(kitchen: Shell, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOPS_TRUST", word)

    assert kitchen("apply") == Exit.USAGE
    assert f"LLMOPS_TRUST is {word}." in kitchen.err


def test_settings_that_ask_for_signatures_are_of_no_use_without_keys(kitchen: Shell, ann: SshKey) -> None:
    kitchen.repo.write({"llmops.yaml": SETTINGS % "trust: head"})
    sign(kitchen.repo, ann)

    assert kitchen("apply") == Exit.NO
    assert "No trusted keys are configured: pass --trusted-keys FILE, or set LLMOPS_TRUSTED_KEYS." in kitchen.err


def test_keys_within_the_repository_are_refused(kitchen: Shell, ann: SshKey, tmp_path: Path) -> None:
    repo = kitchen.repo
    repo.write({"keys/signers": ann.signers.read_text()})
    sign(repo, ann)
    link = tmp_path / "link"
    link.symlink_to(repo.folder / "keys" / "signers")

    for path in (repo.folder / "keys" / "signers", link):
        assert kitchen("apply", "--trust", "head", "--trusted-keys", str(path)) == Exit.USAGE
        assert "where a commit could change the keys that verify it" in kitchen.err
    assert kitchen("apply", "--trust", "head", "--trusted-keys", str(tmp_path / "none")) == Exit.USAGE
    assert "there are no keys at" in kitchen.err


def test_a_plan_is_shown_under_a_note_and_not_kept(kitchen: Shell, ann: SshKey, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"

    assert kitchen("plan", *trusting(ann)) == Exit.WELL
    assert "Note: `llmops apply` will refuse this: commit " in kitchen.out
    assert "Dish/flour" in kitchen.out
    assert kitchen("plan", "--out", str(out), *trusting(ann)) == Exit.NO
    assert not out.exists()
    assert kitchen("plan", "--worktree", *trusting(ann)) == Exit.WELL
    assert "refuse" not in kitchen.out


def test_a_plan_that_was_kept_is_verified_again(kitchen: Shell, ann: SshKey, tmp_path: Path) -> None:
    out = str(tmp_path / "plan.json")
    assert kitchen("plan", "--out", out) == Exit.WELL

    assert kitchen("apply", out, *trusting(ann)) == Exit.NO
    assert kitchen("apply", out) == Exit.WELL


def test_a_gate_runs_nothing_of_an_untrusted_branch(kitchen: Shell, ann: SshKey, plugins: Path) -> None:
    repo = kitchen.repo
    repo.git("switch", "--quiet", "--create", "change")
    repo.commit({"specs/flour.yaml": spec("Dish", "flour", "text: other")})
    gate = ("gate", "--base", "main", *trusting(ann))

    assert kitchen(*gate, "--dry-run") == Exit.WELL
    assert "will refuse to run this" in kitchen.err
    assert kitchen(*gate) == Exit.NO
    assert "is not trusted" in kitchen.err
    sign(repo, ann)
    assert kitchen(*gate) == Exit.WELL


def test_a_replacement_is_not_verified_instead_of_the_commit(kitchen: Shell, ann: SshKey) -> None:
    repo = kitchen.repo
    good = sign(repo, ann)
    bad = repo.commit({"specs/flour.yaml": spec("Dish", "flour", "text: poison")})
    repo.git("replace", bad, good)

    assert kitchen("apply", *trusting(ann)) == Exit.NO


# The ledger


@pytest.fixture
def sealed(kitchen: Shell, ann: SshKey, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A ledger that Ann's reconciler signed from its begin, and in which something was made."""
    monkeypatch.setenv("LLMOPS_SIGNING_KEY", str(ann.path))
    assert kitchen("init") == Exit.WELL
    monkeypatch.setenv("LLMOPS_LEDGER_KEYS", str(ann.signers))
    assert kitchen("apply") == Exit.WELL
    return kitchen


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

    assert sealed("fsck", "--offline", "-o", "json") == Exit.NO
    found = {(one["where"], one["what"].partition(",")[0]) for one in json.loads(sealed.out)["findings"]}
    foreign = {ref: f"of commit {repo.git('rev-parse', ref)[:12]}" for ref in REFS}
    assert set(foreign.items()) <= found
    assert any("the file is corrupt" in what for _, what in found), found


def test_fsck_takes_nothing_from_a_remote_that_is_not_believed_and_looks_at_what_is_here(sealed: Shell) -> None:
    repo, ref = sealed.repo, REFS[0]
    foreign = repo.git("commit-tree", f"{ref}^{{tree}}", "-p", ref, "-m", "as if")
    repo.git("push", "--quiet", "origin", f"{foreign}:{ref}")
    before = repo.git("rev-parse", ref)

    assert sealed("fsck", "-o", "json") == Exit.NO
    problems = [one for one in json.loads(sealed.out)["findings"] if one["grade"] == "problem"]
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
    kitchen: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("no key\n")
    wrong.chmod(0o600)
    monkeypatch.setenv("LLMOPS_SIGNING_KEY", str(wrong))

    assert kitchen("apply") == Exit.FAULT
    assert "Use an SSH private key without a passphrase" in kitchen.err


def test_a_ledger_that_was_not_signed_is_signed_by_init(
    kitchen: Shell, ann: SshKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kitchen("apply") == Exit.WELL
    monkeypatch.setenv("LLMOPS_LEDGER_KEYS", str(ann.signers))
    assert kitchen("plan") == Exit.NO
    assert "run `llmops init` once with LLMOPS_SIGNING_KEY and without LLMOPS_LEDGER_KEYS" in kitchen.err
    monkeypatch.delenv("LLMOPS_LEDGER_KEYS")
    monkeypatch.setenv("LLMOPS_SIGNING_KEY", str(ann.path))

    assert kitchen("init") == Exit.WELL
    assert "Signed the existing ledger: refs/llmops/results and refs/llmops/releases/local." in kitchen.out

    monkeypatch.setenv("LLMOPS_LEDGER_KEYS", str(ann.signers))
    assert kitchen("plan") == Exit.WELL
    assert kitchen("fsck") == Exit.WELL
    assert kitchen("init") == Exit.WELL
    assert "Signed" not in kitchen.out


def test_two_signed_writers_merge_by_union(sealed: Shell, tmp_path: Path) -> None:
    from tests.unit.test_ledger import outcome

    repo = sealed.repo
    seal = SigningPolicy(os.environ["LLMOPS_SIGNING_KEY"], keys_at([os.environ["LLMOPS_LEDGER_KEYS"]], repo.folder))
    other = repo.clone(tmp_path / "other")
    other.git("config", "user.name", "other")
    here, there = (ledger.locate(one.open(), repo.workspace().settings.ledger, "local", seal) for one in (repo, other))
    ledger.fetch(there)
    ledger.record(here, [outcome(1)], "m")
    ledger.record(there, [outcome(2)], "m")  # has not seen the other
    ledger.fetch(here)

    assert ledger.units(here) == ledger.units(there)
    assert sealed("fsck") == Exit.WELL
    assert "ledger: unite" in repo.git("log", "--format=%s", REFS[0])
