"""Contract with the libraries whose words our specs use: what we allow exists there, under that name."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

from llmops.kinds.training import Arguments, Lora


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")


def fields(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_every_training_argument_is_one_of_the_trainers() -> None:
    from trl import SFTConfig

    assert set(Arguments.__struct_fields__) <= fields(SFTConfig)


def test_every_lora_option_is_one_of_pefts() -> None:
    from peft import LoraConfig

    assert set(Lora.__struct_fields__) <= fields(LoraConfig)
