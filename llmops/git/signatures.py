"""Verifies the signatures of commits with git, and signs commits with ssh-keygen.

git reports a letter for each signature, of SSH and GPG alike (git-log(1), ``%G?``). Every given key is trusted: each
line of an allowed-signers file, and each key of a GnuPG home, whatever trust GnuPG has in its owner.

Effects: runs git and ssh-keygen.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from llmops.domain.digests import SHORT
from llmops.domain.problems import Broken, Misused, Refused
from llmops.git import command

NOWHERE = "/dev/null"
_FORMAT = "%H%x00%s%x00%G?%x00%GS%x00%GK%x00%GG"
_FIELDS = _FORMAT.count("%x00") + 1
_SSH_KEY = "SHA256:"
"""The beginning of ssh-keygen's fingerprints; those of GnuPG are hexadecimal."""
_SECONDS = 600.0


class Keys(Struct, frozen=True):
    signers: str = ""
    """An allowed-signers file, as of ssh-keygen(1)."""
    keyring: str = ""
    """A GnuPG home."""

    def __str__(self) -> str:
        return " and ".join(path for path in (self.signers, self.keyring) if path)


class SigningPolicy(Struct, frozen=True):
    """The key that signs the commits of a ledger, and the keys that are trusted there."""

    key: str = ""
    """An SSH private key, or a public one whose private half an agent has; '' for no signatures."""
    keys: Keys | None = None
    """None: every commit is trusted, signed or not."""


UNSIGNED = SigningPolicy()


class SignatureStatus(StrEnum):
    GOOD = "good"
    UNSIGNED = "it is not signed"
    BAD = "its signature is not of what it holds: it was changed after it was signed"
    UNKNOWN = "it is signed by a key that is not trusted here"
    EXPIRED = "it is signed by a key that was not valid then or is not any more"
    REVOKED = "it is signed by a key that was revoked"


class Signature(Struct, frozen=True, kw_only=True):
    commit: str
    subject: str
    standing: SignatureStatus
    signer: str
    key: str
    """The key's fingerprint, or '' without a signature."""

    @property
    def is_good(self) -> bool:
        """Whether a trusted key signed the commit as it is."""
        return self.standing is SignatureStatus.GOOD


_LETTERS = {
    "G": SignatureStatus.GOOD,
    "B": SignatureStatus.BAD,
    "X": SignatureStatus.EXPIRED,
    "Y": SignatureStatus.EXPIRED,
    "R": SignatureStatus.REVOKED,
    "E": SignatureStatus.UNKNOWN,
    "N": SignatureStatus.UNSIGNED,
}
_DATES = ("key has expired", "key is not yet valid")
"""Messages of ssh-keygen for a trusted key that was not valid at the time."""


def read(folder: Path, keys: Keys, revisions: Iterable[str], *options: str) -> tuple[Signature, ...]:
    """Verify the commits that `git log` lists for some revisions; ``options`` are further options of it."""
    config = {
        "gpg.ssh.allowedSignersFile": keys.signers or NOWHERE,
        "gpg.x509.program": NOWHERE,  # neither list of keys contains certificates
        "log.showSignature": "false",
    }
    settings = [word for name, value in config.items() for word in ("-c", f"{name}={value}")]
    home = {"GNUPGHOME": keys.keyring or NOWHERE}
    arguments = (*settings, "log", "-z", f"--format={_FORMAT}", *options, "--end-of-options", *revisions)
    fields = command.run(folder, *arguments, environment=home, timeout=_SECONDS).split("\0")
    rows = zip(*(fields[number::_FIELDS] for number in range(_FIELDS)), strict=False)
    return tuple(
        Signature(commit=commit, subject=subject, standing=_status(letter, key, output), signer=signer, key=key)
        for commit, subject, letter, signer, key, output in rows
    )


def _status(letter: str, key: str, output: str) -> SignatureStatus:
    """Decode the letter of git's ``%G?``. U is an untrusted key, or an SSH key whose status only the output says."""
    if letter != "U":
        return _LETTERS.get(letter, SignatureStatus.UNKNOWN)
    if not key.startswith(_SSH_KEY):
        return SignatureStatus.GOOD  # a key of the given keyring, which GnuPG need not trust
    return SignatureStatus.EXPIRED if any(message in output for message in _DATES) else SignatureStatus.UNKNOWN


@lru_cache(4096)
def _of(folder: Path, keys: Keys, commit: str) -> Signature:
    """Verify a commit once in a process: neither it nor the keys change."""
    return read(folder, keys, [commit], "--no-walk")[0]


def verify(folder: Path, seal: SigningPolicy, ref: str, commit: str) -> None:
    """Raise `Refused` for a commit of a ledger ('' is none) that is not signed by a trusted key, if keys are given."""
    if seal.keys is None or not commit:
        return
    signature = _of(folder, seal.keys, commit)
    if not signature.is_good:
        what = f"commit {commit[:SHORT]}: {signature.standing}{named(signature)}"
        raise Refused(f"{ref} is not trusted: {what}. {_remedy(signature, seal)}")


def may_write(seal: SigningPolicy) -> None:
    """Raise `Refused` if readers of the ledger would not trust what is written."""
    if seal.keys is not None and not seal.key:
        raise Refused(
            "this run may only read the ledger: LLMOPS_LEDGER_KEYS requires signatures. "
            "Set LLMOPS_SIGNING_KEY to the key to sign with."
        )


def _remedy(signature: Signature, seal: SigningPolicy) -> str:
    look = f"Look at it: `git show {signature.commit[:SHORT]}`."
    if signature.standing is SignatureStatus.UNSIGNED:
        return (
            f"{look} If llmops wrote it before the ledger was signed, run `llmops init` once with LLMOPS_SIGNING_KEY "
            "and without LLMOPS_LEDGER_KEYS. Otherwise push the last signed commit again."
        )
    if signature.standing in (SignatureStatus.UNKNOWN, SignatureStatus.EXPIRED):
        return f"{look} If the reconciler is yours, add its key to {seal.keys}. Otherwise push the last good one again."
    return f"{look} Push the last good commit again."


def named(signature: Signature) -> str:
    """The signer and the key, in brackets; '' without a signature."""
    signer = f"{signature.signer}, " if signature.signer else ""
    return f" ({signer}{signature.key})" if signature.key else ""


def sign(key: str, commit: bytes) -> bytes:
    """Sign a commit as git does: with ssh-keygen(1), ``-Y sign``, in the header ``gpgsig``.

    Raises `Broken` when the key cannot sign.
    """
    argv = ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", key]
    try:
        done = subprocess.run(argv, input=commit, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        raise Broken("ssh-keygen is not installed. Install it: apt-get install openssh-client.") from None
    except subprocess.TimeoutExpired:
        raise Broken(
            f"ssh-keygen did not sign with {key} within 60 s. Check whether its agent waits for a confirmation."
        ) from None
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Broken(
            f"the ledger cannot be signed with {key}: {why[0].rstrip('.')}. "
            "Use an SSH private key without a passphrase, or the public key of one that ssh-agent holds."
        )
    headers, _, message = commit.partition(b"\n\n")
    return headers + b"\ngpgsig " + done.stdout.rstrip(b"\n").replace(b"\n", b"\n ") + b"\n\n" + message


def outside(path: str, top: Path) -> Path:
    """Resolve the path of keys. Raises `Misused` if it does not exist, or is in the repository at ``top``."""
    keys = Path(path).resolve()
    if not keys.exists():
        raise Misused(f"there are no keys at {path}. Name an existing file or folder.")
    if keys.is_relative_to(top.resolve()):
        raise Misused(
            f"{path} is in the repository, where a commit could change the keys that verify it. "
            "Keep keys outside: in a home directory, or in a secret of the CI."
        )
    return keys


def keys_at(paths: Iterable[str], top: Path) -> Keys:
    """Locate keys: a file contains allowed signers, a folder is a GnuPG home. Raises as `outside`."""
    places = [outside(path, top) for path in paths]
    files, folders = [path for path in places if path.is_file()], [path for path in places if path.is_dir()]
    if len(files) > 1 or len(folders) > 1:
        names = " and ".join(map(str, places))
        raise Misused(f"{names}: name at most one file of allowed signers and one GnuPG home.")
    return Keys(*(str(listed[0]) if listed else "" for listed in (files, folders)))
