"""Real keys for tests: SSH by ssh-keygen, GPG by gpg."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.repos import Repo


class SshKey:
    """An SSH key; ``signers`` is a file of allowed signers that names it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.signers = folder / name, folder / f"{name}.signers"
        folder.mkdir(exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.path))
        self.signers.write_text(self.line())

    def line(self, options: str = "") -> str:
        return f"{self.path.name}@localhost {options} {self.path.with_suffix('.pub').read_text()}"

    @property
    def config(self) -> tuple[str, ...]:
        return "-c", "gpg.format=ssh", "-c", f"user.signingKey={self.path}"


class GpgKey:
    """A GPG key in a home of its own."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        home.mkdir(mode=0o700)
        self.gpg("--passphrase", "", "--quick-gen-key", f"{name} <{name}@localhost>", "ed25519", "sign", "never")
        listed = self.gpg("--list-secret-keys", "--with-colons").splitlines()
        self.id = next(line.split(":")[9] for line in listed if line.startswith("fpr"))

    def gpg(self, *arguments: str) -> str:
        return run("gpg", "--homedir", str(self.home), "--quiet", "--batch", *arguments)

    def public(self, home: Path) -> Path:
        """Make a home that knows only the public key, as a CI job does."""
        home.mkdir(mode=0o700)
        exported = self.home / "public.asc"
        exported.write_text(self.gpg("--armor", "--export", self.id))
        run("gpg", "--homedir", str(home), "--quiet", "--batch", "--import", str(exported))
        return home

    @property
    def config(self) -> tuple[str, ...]:
        program = self.home / "sign"
        program.write_text(f'#!/bin/sh\nexec gpg --homedir "{self.home}" "$@"\n')
        program.chmod(0o755)
        return "-c", f"gpg.program={program}", "-c", f"user.signingKey={self.id}"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sign(repo: Repo, key: SshKey | GpgKey, message: str = "signed") -> str:
    """Commit what lies there, signed."""
    repo.git("add", "--all")
    repo.git(*key.config, "commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", message)
    return repo.git("rev-parse", "HEAD")


def forge(repo: Repo, commit: str, old: str, new: str) -> str:
    """Make a commit that says something else under the signature of another one, and bring HEAD there."""
    text = repo.git("cat-file", "commit", commit) + "\n"
    assert old in text
    path = repo.folder.parent / "forged"
    path.write_text(text.replace(old, new))
    made = repo.git("hash-object", "-t", "commit", "-w", str(path))
    repo.git("reset", "--quiet", "--hard", made)
    return made
