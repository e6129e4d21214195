"""Completes arguments for the shell; what cannot be read completes to nothing.

Effects: reads git.
"""

import argparse
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from llmops import registry
from llmops.domain.resources import Key
from llmops.git import command, repository, tree
from llmops.git.repository import Repository
from llmops.index import commits
from llmops.specs import loading

Words: TypeAlias = Callable[[Namespace, str], Iterable[str]]
"""Lists what an argument may be, given the others and its beginning; argcomplete drops words that begin otherwise."""
LIVE = "Deployment"


def add(parser: argparse.ArgumentParser, words: Words, *names: str, **options: Any) -> None:

    def complete(prefix: str, parsed_args: Namespace, **_: Any) -> list[str]:
        try:
            return list(words(parsed_args, prefix))
        except Exception:  # noqa: BLE001  completion must never fail
            return []

    parser.add_argument(*names, **options).completer = complete  # type: ignore[attr-defined]


def add_revision(parser: argparse.ArgumentParser, *names: str, **options: Any) -> None:
    """Add an argument that is a commit: HEAD, a branch, a tag or a branch of a remote."""
    add(parser, _revisions, *names, **{"metavar": "REV", **options})


def repository_of(arguments: Namespace) -> Repository:
    return repository.discover(Path(arguments.folder))


def keys(arguments: Namespace, _: str = "") -> Iterable[str]:
    repo = repository_of(arguments)
    return map(str, loading.parse(tree.files(repo, tree.commit_id(repo, "HEAD")), registry.PLUGINS).drafts)


def deployment_keys(arguments: Namespace, _: str = "") -> list[str]:
    return [key for key in keys(arguments) if Key.parse(key).kind == LIVE]


def deployments(arguments: Namespace, _: str) -> list[str]:
    """List the deployments of HEAD by name, as clients call them."""
    return [Key.parse(key).name for key in deployment_keys(arguments)]


def models(arguments: Namespace, _: str = "") -> list[str]:
    return named(("Model", "Training"), arguments)


def named(kinds: tuple[str, ...], arguments: Namespace) -> list[str]:
    """List the resources of some kinds by name, or by key if two share a name."""
    all_keys = [key for text in keys(arguments) if (key := Key.parse(text)).kind in kinds]
    names = [key.name for key in all_keys]
    return sorted(key.name if names.count(key.name) == 1 else str(key) for key in all_keys)


def environments(arguments: Namespace, _: str) -> list[str]:
    """List the environments that have a ledger in this clone."""
    repo = repository_of(arguments)
    folder = f"{commits.settings_at(repo, 'HEAD').ledger.releases}/"
    return [ref.removeprefix(folder) for ref in _refs(repo, folder, form="%(refname)")]


def _revisions(arguments: Namespace, _: str) -> list[str]:
    namespaces = ("refs/heads", "refs/tags", "refs/remotes")
    return ["HEAD", *_refs(repository_of(arguments), *namespaces, form="%(refname:lstrip=2)")]


def _refs(repo: Repository, *patterns: str, form: str) -> list[str]:
    return command.run(repo.around, "for-each-ref", f"--format={form}", *patterns).splitlines()
