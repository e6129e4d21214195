"""references -> secrets: looked up in the process of the step that needs them, and nowhere else.

``vault:mount/path#field`` reads a field of a secret of the KV engine, version 2
(https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version), with what Vault's own tools take
from the environment: VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE and VAULT_CACERT.

Effects: reads the environment and files, talks to Vault.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

import msgspec

from llmops.domain.problems import did_you_mean

SECONDS = 10.0
"""How long Vault may take."""
FORBIDDEN, NOT_FOUND = 403, 404


class NoSecret(Exception):
    """A secret cannot be had; the message says which, why and what to do, and holds none."""


def resolve(reference: str) -> str:
    """Give the secret that a reference names. Raises `NoSecret`."""
    scheme, _, rest = reference.partition(":")
    if scheme not in PROVIDERS:
        raise NoSecret(f"nobody knows how to look up {scheme}:. {did_you_mean(scheme, PROVIDERS)}")
    if not (found := PROVIDERS[scheme](rest).rstrip("\r\n")):
        raise NoSecret(f"{reference} is empty.")
    return found


def _env(name: str) -> str:
    if name not in os.environ:
        raise NoSecret(
            f"env:{name}: there is no such variable where this step runs. "
            "Set it for llmops apply; on the nodes of a Ray cluster, or use file: or vault:."
        )
    return os.environ[name]


def _file(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is not text"
        raise NoSecret(f"file:{path} cannot be read where this step runs: {why}. Mount it there.") from None


def _vault(where: str) -> str:
    path, _, field = where.partition("#")
    mount, _, inside = path.partition("/")
    server, token = os.environ.get("VAULT_ADDR", "").rstrip("/"), os.environ.get("VAULT_TOKEN")
    if not server or not token:
        raise NoSecret(f"vault:{where} needs VAULT_ADDR and VAULT_TOKEN where this step runs.")
    url = f"{server}/v1/{quote(mount)}/data/{quote(inside)}"
    try:
        with _opener().open(_request(url, token), timeout=SECONDS) as answer:
            data = msgspec.json.decode(answer.read(), type=_Answer).data.data or {}
    except HTTPError as error:
        error.close()
        raise NoSecret(f"vault:{where}: {_refusal(error)}") from None
    except (OSError, HTTPException, msgspec.DecodeError) as error:
        why = str(getattr(error, "reason", error)).rstrip(".")
        raise NoSecret(f"vault:{where}: Vault at {server} does not answer as it should: {why}.") from None
    except ValueError:  # its own words may hold the token
        raise NoSecret(
            f"vault:{where}: VAULT_ADDR, VAULT_TOKEN or VAULT_NAMESPACE cannot be sent. "
            "Give the address as https://HOST:PORT, and each of the others as one line."
        ) from None
    if not isinstance(data.get(field), str):
        raise NoSecret(f'vault:{where}: there is no text called "{field}". {did_you_mean(field, data)}'.rstrip())
    return str(data[field])


def _request(url: str, token: str) -> Request:
    made = Request(url)  # noqa: S310  http for a Vault of a developer
    made.add_unredirected_header("X-Vault-Token", token)
    made.add_unredirected_header("X-Vault-Request", "true")
    if namespace := os.environ.get("VAULT_NAMESPACE"):
        made.add_unredirected_header("X-Vault-Namespace", namespace)
    return made


def _refusal(error: HTTPError) -> str:
    if error.code == FORBIDDEN:
        return "Vault refuses. Is VAULT_TOKEN valid, and may its policy read this path?"
    if error.code == NOT_FOUND:
        return "Vault has no such secret, or it was deleted. Is it a KV engine of version 2?"
    return f"Vault answers {error.code} {error.reason}. Is VAULT_ADDR right, and Vault unsealed?"


class _Version(msgspec.Struct):
    data: dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    data: _Version


class _Stay(HTTPRedirectHandler):
    """A token is for one server: a redirect is an answer like any other."""

    def redirect_request(
        self,
        req: Request,  # noqa: ARG002
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: Message,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        return None


def _opener() -> OpenerDirector:
    context = ssl.create_default_context(cafile=os.environ.get("VAULT_CACERT") or None)
    return build_opener(_Stay, HTTPSHandler(context=context))


PROVIDERS: Mapping[str, Callable[[str], str]] = {"env": _env, "file": _file, "vault": _vault}
"""Who looks up what stands behind a scheme. A new one has its form in `fields.SECRET_PATTERN`, too."""
