"""What laws are tried with: whole systems, and files and values of any sort."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from llmops.domain.problems import Invalid
from tests.conftest import examples
from tests.trees import Tree, build, spec

CALM = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])


NAMES = st.sampled_from(["a", "b", "c"])


ROW = '{"messages": [{"role": "user", "content": "%s"}]}\n'


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Draw a small system: data, a chain of trainings, evaluations and deployments that depend on them."""
    files: dict[str, str] = {
        "evals/t.yaml": "task: t\ndoc_to_text: x\n",
        "prompts/p.jinja": draw(st.sampled_from(["{{ q }}", "Q {{ q }}"])),
        "specs/p.yaml": spec("Prompt", "p", "template: prompts/p.jinja\nvariables: {q: {}}"),
    }
    datasets = sorted(draw(st.sets(NAMES, min_size=1)))
    for name in datasets:
        files[f"data/{name}.jsonl"] = ROW % draw(st.sampled_from("xyz"))
        files[f"specs/d-{name}.yaml"] = spec(
            "Dataset", name, f"format: messages\nsources: [{{path: data/{name}.jsonl}}]"
        )
    trainings: list[str] = []
    model = f"source: {{hf: {{repo: a/b, revision: {draw(st.sampled_from('ab')) * 40}}}}}\nstage: approved"
    files["specs/m.yaml"] = spec("Model", "m", model, description=draw(NAMES))
    for name in sorted(draw(st.sets(NAMES, min_size=1))):
        base = draw(st.sampled_from(["m", *trainings]))
        body = f"{{task: sft, base: {base}, datasets: [{{name: {draw(st.sampled_from(datasets))}}}], seed: {draw(st.integers(0, 2))}}}"
        files[f"specs/t-{name}.yaml"] = spec("Training", f"t{name}", body)
        trainings.append(f"t{name}")
    for name in sorted(draw(st.sets(NAMES))):
        body = f"{{subject: {{model: {draw(st.sampled_from(trainings))}, prompt: p}}, suites: [{{task: evals/t.yaml, dataset: {datasets[0]}, limit: {draw(st.integers(1, 2))}}}]}}"
        files[f"specs/e-{name}.yaml"] = spec("Evaluation", name, body)
    for name in sorted(draw(st.sets(NAMES))):
        body = f"{{model: {draw(st.sampled_from(trainings))}, replicas: {draw(st.integers(1, 2))}, engine: {{config: {{cb_num_blocks: {draw(st.integers(8, 9))}}}}}}}"
        files[f"specs/s-{name}.yaml"] = spec("Deployment", name, body)
    return Tree(files)


BREAKS = [
    ("specs/p.yaml", "name: p", "name: q"),
    ("specs/p.yaml", "kind: Prompt", "kind: Promt"),
    ("specs/m.yaml", "approved", "retired"),
    ("specs/m.yaml", "approved", "draft"),
    ("prompts/p.jinja", "q", "qq"),
    ("evals/t.yaml", "doc_to_text", "doc_to_txt"),
    ("specs/t-a.yaml", "task: sft", "task: sftt"),
    ("specs/t-a.yaml", "base: m", "base: ta"),
    ("specs/d-a.yaml", "name: a", "name: b"),
    ("data/a.jsonl", '"role": "user"', '"role": 3'),
]


BOUNDED = settings(max_examples=examples(150))


WORDS = (
    "apiVersion kind metadata name spec task include dataset_path dataset_kwargs data_files json output_type suites "
    "!function !!str !!timestamp !!set ~ null 1e999 .nan 0x1F 2001-99-99 /data/x.yaml ../x ? - : , [ ] { } & * << --- ... "
    "&a *a | > # % ' \" \\"
).split()


PIECES = [*WORDS, "\n", "\n  ", "\n    ", ": ", "- ", "? ", "\t", "\x00", "\u2028", "\ufeff", "é"]


TEXTS = st.lists(st.sampled_from(PIECES), max_size=30).map(lambda pieces: "".join(pieces).encode())


REPEATED = st.tuples(st.sampled_from(PIECES), st.integers(1, 100_000)).map(lambda pair: (pair[0] * pair[1]).encode())


FILES = st.binary(max_size=200) | TEXTS | REPEATED


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["json", "/", ".."])
)


VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def specs_or_problems(tree: Tree) -> bool:
    """Whether the tree is read; what is wrong can be printed."""
    try:
        build(tree)
    except Invalid as error:
        return bool(str(error))
    return True
