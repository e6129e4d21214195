"""Every byte is named as by hashlib, before and after OpenSSL is loaded."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys

import pytest

from llmops.domain import digests


@pytest.mark.parametrize("size", [0, 1, 300, digests.LITTLE, digests.LITTLE + 1, 3 * digests.LITTLE])
def test_a_name_does_not_depend_on_who_hashes(size: int) -> None:
    data, hasher = b"x" * size, digests._Hasher()

    assert [hasher(data) for _ in range(5)] == [hashlib.sha256(data).hexdigest()] * 5
    assert digests.of_file(io.BytesIO(data)) == hashlib.sha256(data).hexdigest()


def test_openssl_is_loaded_when_there_is_much_to_hash() -> None:
    program = (
        "import sys; from llmops.domain import digests as hashes; hashes.sha256(b'x'); assert 'hashlib' not in sys.modules; "
        "hashes.sha256(b'x' * hashes.LITTLE); assert 'hashlib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_python_without_modules_of_its_own_has_hashlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "LIGHT", ("_nothing_like_it",))

    assert digests._Hasher()(b"x") == hashlib.sha256(b"x").hexdigest()
