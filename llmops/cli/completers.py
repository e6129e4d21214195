"""Completes arguments for the shell; what cannot be read completes to nothing.

Effects: reads git.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from llmops import registry
from llmops.cli.open_repository import open_repository
from llmops.domain.resources import Key
from llmops.git import command, tree
from llmops.index import commits
from llmops.specs import loading

Completer: TypeAlias = Callable[..., list[str]]
"""A function that argcomplete calls with ``prefix`` and ``parsed_args``, among others."""
LIVE = "Deployment"


def add(parser: argparse.ArgumentParser, completer: Completer, *names: str, **options: Any) -> None:
    """Add an argument with completion."""
    parser.add_argument(*names, **options).completer = completer  # type: ignore[attr-defined]


def add_revision(parser: argparse.ArgumentParser, *names: str, **options: Any) -> None:
    """Add an argument that is a commit."""
    add(parser, revisions, *names, **options)


def keys(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """List the resources of HEAD."""
    try:
        repo = open_repository(parsed_args)
        files = tree.files(repo, tree.commit_id(repo, "HEAD"))
        drafts = loading.parse(files, registry.PLUGINS).drafts
    except Exception:  # noqa: BLE001  completion must never fail
        return []
    return _beginning(prefix, map(str, drafts))


def deployment_keys(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """List the deployments of HEAD as ``Deployment/name``."""
    return [key for key in keys(prefix, parsed_args) if Key.parse(key).kind == LIVE]


def deployments(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """List the deployments of HEAD by name, as clients call them."""
    return _beginning(prefix, (Key.parse(key).name for key in deployment_keys("", parsed_args)))


def models(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """List the resources that are models."""
    return _beginning(prefix, named(("Model", "Training"), parsed_args))


def named(kinds: tuple[str, ...], parsed_args: argparse.Namespace) -> list[str]:
    """List the resources of some kinds by name, or by key if two share a name."""
    all_keys = [key for text in keys("", parsed_args) if (key := Key.parse(text)).kind in kinds]
    names = [key.name for key in all_keys]
    return sorted(key.name if names.count(key.name) == 1 else str(key) for key in all_keys)


def revisions(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """List HEAD, the branches, the tags and the branches of remotes."""
    namespaces = ("refs/heads", "refs/tags", "refs/remotes")
    return _beginning(prefix, ["HEAD", *_refs(parsed_args, *namespaces, form="%(refname:lstrip=2)")])


def environments(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """List the environments that have a ledger in this clone."""
    try:
        where = f"{commits.settings_at(open_repository(parsed_args), 'HEAD').ledger.releases}/"
    except Exception:  # noqa: BLE001  completion must never fail
        return []
    refs = _refs(parsed_args, where, form="%(refname)")
    return _beginning(prefix, (ref.removeprefix(where) for ref in refs))


def _refs(parsed_args: argparse.Namespace, *patterns: str, form: str) -> list[str]:
    try:
        repo = open_repository(parsed_args)
        return command.run(repo.around, "for-each-ref", f"--format={form}", *patterns).splitlines()
    except Exception:  # noqa: BLE001  completion must never fail
        return []


def _beginning(prefix: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(prefix)]
