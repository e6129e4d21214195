"""commits, keys -> whose they are: git verifies the signatures, ssh-keygen makes them.

git says what it found in one letter, for SSH and GPG alike (git-log(1), ``%G?``). Every key that is given counts: each
line of an allowed-signers file, and each key of a GnuPG home, however much GnuPG trusts its owner.

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
"""How ssh-keygen names a key; GnuPG's names are hexadecimal."""
_SECONDS = 600.0


class Keys(Struct, frozen=True):
    """Whose signatures count."""

    signers: str = ""
    """An allowed-signers file, as of ssh-keygen(1)."""
    keyring: str = ""
    """A GnuPG home."""

    def __str__(self) -> str:
        return " and ".join(path for path in (self.signers, self.keyring) if path)


class SigningPolicy(Struct, frozen=True):
    """How the commits of a ledger are signed, and whose signatures count there."""

    key: str = ""
    """An SSH private key, or a public one whose private half an agent has; '' signs nothing."""
    keys: Keys | None = None
    """None: whoever could push the ledger is believed."""


UNSIGNED = SigningPolicy()


class SignatureStatus(StrEnum):
    """What a signature is worth."""

    GOOD = "good"
    UNSIGNED = "it is not signed"
    BAD = "its signature is not of what it holds: it was changed after it was signed"
    UNKNOWN = "it is signed by a key that is not trusted here"
    EXPIRED = "it is signed by a key that was not valid then or is not any more"
    REVOKED = "it is signed by a key that was revoked"


class Signature(Struct, frozen=True, kw_only=True):
    """The signature of a commit."""

    commit: str
    subject: str
    standing: SignatureStatus
    signer: str
    key: str
    """The key's fingerprint, or '' when there is no signature."""

    @property
    def is_good(self) -> bool:
        """Whether a known key made it, of this."""
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
"""What ssh-keygen says of a known key at another time than its own."""


def read(folder: Path, keys: Keys, revisions: Iterable[str], *how: str) -> tuple[Signature, ...]:
    """Have git verify the commits that `git log` gives for some revisions, each with its signature."""
    config = {
        "gpg.ssh.allowedSignersFile": keys.signers or NOWHERE,
        "gpg.x509.program": NOWHERE,  # neither list of keys is about certificates
        "log.showSignature": "false",
    }
    settings = [word for name, value in config.items() for word in ("-c", f"{name}={value}")]
    home = {"GNUPGHOME": keys.keyring or NOWHERE}
    arguments = (*settings, "log", "-z", f"--format={_FORMAT}", *how, "--end-of-options", *revisions)
    fields = command.run(folder, *arguments, environment=home, timeout=_SECONDS).split("\0")
    rows = zip(*(fields[number::_FIELDS] for number in range(_FIELDS)), strict=False)
    return tuple(
        Signature(commit=commit, subject=subject, standing=_standing(letter, key, words), signer=signer, key=key)
        for commit, subject, letter, signer, key, words in rows
    )


def _standing(letter: str, key: str, words: str) -> SignatureStatus:
    if letter != "U":
        return _LETTERS.get(letter, SignatureStatus.UNKNOWN)
    if not key.startswith(_SSH_KEY):
        return (
            SignatureStatus.GOOD
        )  # of the keyring that was given; that GnuPG does not trust its owner says nothing here
    return SignatureStatus.EXPIRED if any(one in words for one in _DATES) else SignatureStatus.UNKNOWN


@lru_cache(4096)
def _of(folder: Path, keys: Keys, commit: str) -> Signature:
    """Verify one commit, once in a process: neither it nor the keys change."""
    return read(folder, keys, [commit], "--no-walk")[0]


def verify(folder: Path, seal: SigningPolicy, ref: str, commit: str) -> None:
    """Raise `Refused` when a ledger's commit ('' is none) is not signed by one of the keys that count, if any do."""
    if seal.keys is None or not commit:
        return
    found = _of(folder, seal.keys, commit)
    if not found.is_good:
        what = f"of its commit {commit[:SHORT]}, {found.standing}{named(found)}"
        raise Refused(f"{ref} is not believed: {what}. {_remedy(found, seal)}")


def may_write(seal: SigningPolicy) -> None:
    """Raise `Refused` when what is written would not be believed when it is read."""
    if seal.keys is not None and not seal.key:
        raise Refused(
            "this run may read the ledger and not write it: LLMOPS_LEDGER_KEYS asks for signatures. "
            "Give the key to sign with: LLMOPS_SIGNING_KEY."
        )


def _remedy(found: Signature, seal: SigningPolicy) -> str:
    look = f"Look at it: `git show {found.commit[:SHORT]}`."
    if found.standing is SignatureStatus.UNSIGNED:
        return (
            f"{look} If llmops wrote it before the ledger was signed, run `llmops init` once with LLMOPS_SIGNING_KEY "
            "and without LLMOPS_LEDGER_KEYS; else somebody else did: push the last signed one again."
        )
    if found.standing in (SignatureStatus.UNKNOWN, SignatureStatus.EXPIRED):
        return f"{look} If that reconciler is yours, add its key to {seal.keys}; else push the last signed one again."
    return f"{look} Push the last one again that was signed well."


def named(found: Signature) -> str:
    """Name the key of a signature behind what is said of it; '' when there is none."""
    signer = f"{found.signer}, " if found.signer else ""
    return f" ({signer}{found.key})" if found.key else ""


def sign(key: str, commit: bytes) -> bytes:
    """Give a commit with its signature, as git makes it: by ssh-keygen(1), ``-Y sign``, in the header ``gpgsig``.

    Raises `Broken` when the key cannot sign.
    """
    argv = ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", key]
    try:
        done = subprocess.run(argv, input=commit, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        raise Broken("ssh-keygen is not installed. Install it: apt-get install openssh-client.") from None
    except subprocess.TimeoutExpired:
        raise Broken(f"ssh-keygen did not sign with {key} within 60 s. Does its agent wait for somebody?") from None
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Broken(
            f"the ledger cannot be signed with {key}: {why[0].rstrip('.')}. "
            "Give an SSH private key without a passphrase, or the public one of a key that ssh-agent holds."
        )
    headers, _, message = commit.partition(b"\n\n")
    return headers + b"\ngpgsig " + done.stdout.rstrip(b"\n").replace(b"\n", b"\n ") + b"\n\n" + message


def outside(path: str, top: Path) -> Path:
    """Give where a file or folder of keys is. Raises `Misused` when it is not there, or a commit could change it."""
    found = Path(path).resolve()
    if not found.exists():
        raise Misused(f"there are no keys at {path}. Name a file or a folder that is there.")
    if found.is_relative_to(top.resolve()):
        raise Misused(
            f"{path} lies in the repository, where a commit could change what it is judged by. "
            "Keep keys outside: in the folder of who runs this, or a secret of the CI."
        )
    return found


def keys_at(paths: Iterable[str], top: Path) -> Keys:
    """Give the keys at some places: a file is one of allowed signers, a folder a GnuPG home. Raises as `outside`."""
    found = [outside(path, top) for path in paths]
    files, folders = [one for one in found if one.is_file()], [one for one in found if one.is_dir()]
    if len(files) > 1 or len(folders) > 1:
        raise Misused(f"{' and '.join(map(str, found))}: give one file of allowed signers and one GnuPG home at most.")
    return Keys(*(str(one[0]) if one else "" for one in (files, folders)))
