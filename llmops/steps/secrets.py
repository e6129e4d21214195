"""Looks up secrets by their references, in the process of the step that needs them and nowhere else.

``vault:mount/path#field`` reads a field of a secret of the KV engine, version 2
(https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version). The environment configures the
connection as for Vault's own tools: VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE and VAULT_CACERT.

Effects: reads the environment and files, sends requests to Vault.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

import msgspec

from llmops.domain.problems import did_you_mean

TIMEOUT_SECONDS = 10.0
FORBIDDEN, NOT_FOUND = 403, 404


class NoSecret(Exception):
    """A secret cannot be read. The message names the reference, the reason and the remedy, and contains no secret."""


def resolve(reference: str) -> str:
    scheme, _, rest = reference.partition(":")
    if scheme not in PROVIDERS:
        raise NoSecret(f"{reference}: there is no provider for {scheme}:. {did_you_mean(scheme, PROVIDERS)}")
    if not (secret := PROVIDERS[scheme](rest).rstrip("\r\n")):
        raise NoSecret(f"{reference} is empty.")
    return secret


def _env(name: str) -> str:
    if name not in os.environ:
        raise NoSecret(
            f"env:{name}: the variable is not set where this step runs. "
            "Set it for llmops apply, or on the nodes of a Ray cluster; or use file: or vault:."
        )
    return os.environ[name]


def _file(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "the file is not text"
        raise NoSecret(f"file:{path} cannot be read where this step runs: {why}. Mount the file there.") from None


def _vault(where: str) -> str:
    path, _, field = where.partition("#")
    mount, _, inside = path.partition("/")
    server, token = os.environ.get("VAULT_ADDR", "").rstrip("/"), os.environ.get("VAULT_TOKEN")
    if not server or not token:
        raise NoSecret(f"vault:{where} needs VAULT_ADDR and VAULT_TOKEN where this step runs.")
    url = f"{server}/v1/{quote(mount)}/data/{quote(inside)}"
    try:
        with _opener().open(_request(url, token), timeout=TIMEOUT_SECONDS) as answer:
            data = msgspec.json.decode(answer.read(), type=_Answer).data.data or {}
    except HTTPError as error:
        error.close()
        raise NoSecret(f"vault:{where}: {_refusal(error)}") from None
    except (OSError, HTTPException, msgspec.DecodeError) as error:
        why = str(getattr(error, "reason", error)).rstrip(".")
        raise NoSecret(f"vault:{where}: Vault at {server} gives no valid answer: {why}.") from None
    except ValueError:  # its message may contain the token
        raise NoSecret(
            f"vault:{where}: VAULT_ADDR, VAULT_TOKEN or VAULT_NAMESPACE cannot be sent. "
            "Write the address as https://HOST:PORT, and each of the others as one line."
        ) from None
    if not isinstance(data.get(field), str):
        raise NoSecret(f'vault:{where}: the secret has no text field "{field}". {did_you_mean(field, data)}'.rstrip())
    return str(data[field])


def _request(url: str, token: str) -> Request:
    request = Request(url)  # noqa: S310  a developer's Vault may speak http
    request.add_unredirected_header("X-Vault-Token", token)
    request.add_unredirected_header("X-Vault-Request", "true")
    if namespace := os.environ.get("VAULT_NAMESPACE"):
        request.add_unredirected_header("X-Vault-Namespace", namespace)
    return request


def _refusal(error: HTTPError) -> str:
    if error.code == FORBIDDEN:
        return "Vault denies access. Check that VAULT_TOKEN is valid and that its policy may read this path."
    if error.code == NOT_FOUND:
        return "Vault has no such secret, or it was deleted. Check the path, and that the KV engine has version 2."
    return f"Vault answers {error.code} {error.reason}. Check VAULT_ADDR, and that Vault is unsealed."


class _Version(msgspec.Struct):
    data: dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    data: _Version


class _NoRedirects(HTTPRedirectHandler):
    """Treats a redirect as the answer: the token is for one server."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener() -> OpenerDirector:
    context = ssl.create_default_context(cafile=os.environ.get("VAULT_CACERT") or None)
    return build_opener(_NoRedirects, HTTPSHandler(context=context))


PROVIDERS: Mapping[str, Callable[[str], str]] = {"env": _env, "file": _file, "vault": _vault}
"""Looks up the part after the scheme. A new scheme needs its form in `fields.SECRET_PATTERN`, too."""
