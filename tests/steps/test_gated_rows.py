"""Gated rows of the hub: a suite's token reaches lm-eval beside what pins the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from lm_eval.api.task import ConfigurableTask

from llmops.domain.orders import Job
from llmops.domain.resources import Key
from llmops.kinds.evaluation.spec import Evaluation, Subject, Suite
from llmops.steps.context import StepContext
from llmops.steps.evaluation import lm_eval_task
from llmops.steps.redaction import Redaction
from llmops.store import blobs

TASK = "dataset_path: org/rows\ndataset_kwargs: {revision: %s}\ndoc_to_text: x\ndoc_to_target: y\n" % ("a" * 40)
SECRET = "hf_s3cr3tOfThisTest"


class Asked(Exception):
    """What lm-eval loads rows with."""


@pytest.mark.parametrize(("token", "more"), [("env:ROWS_TOKEN", {"token": SECRET}), (None, {})])
def test_a_suites_token_goes_to_the_hub_with_the_revision(
    token: str | None, more: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(self: Any, kwargs: dict[str, Any] | None = None) -> None:
        raise Asked(kwargs)

    monkeypatch.setattr(ConfigurableTask, "download", download)  # the hub is not ours, and not here
    monkeypatch.setenv("ROWS_TOKEN", SECRET)
    kept = blobs.open_at((tmp_path / "store").as_uri())
    files = {
        "evals/t.yaml": blobs.add_bytes(kept, b"include: base.yaml\ntask: t\n"),
        "evals/base.yaml": blobs.add_bytes(kept, TASK.encode()),
    }
    evaluation = Evaluation(subject=Subject(model="m"), suites=(Suite(task="evals/t.yaml", token=token),))
    body = msgspec.Raw(msgspec.json.encode(evaluation))
    job = Job(unit="0" * 64, key=Key("Evaluation", "e"), field="suites", index=0, body=body, files=files)
    redaction = Redaction()

    with pytest.raises(Asked) as asked:
        lm_eval_task.task(job, None, StepContext(tmp_path / "order", kept, cluster=False, redaction=redaction))
    redaction.close()  # the output of the tests goes where it went

    assert asked.value.args[0] == {"revision": "a" * 40, **more}
    assert (redaction.clean(SECRET) == "***") is bool(more)
