"""What the documentation shows is run or parsed as it stands, so that it cannot rot.

Python blocks of a page are run one after another, as one module called ``my_package``. Lines of shell
blocks that call oahier are given to its real parsers, YAML blocks too. A block that should not be run has
``<!-- not run: reason -->`` above it; there are few.
"""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from oahier.cli import main
from oahier.cli.classes import Classes, without_classes
from oahier.cli.compare import compare_parser
from oahier.cli.init import filled
from oahier.cli.training import OahierCLI, run_training_command
from oahier.public import PUBLIC
from oahier.specs.trust import restrict_parsers
from oahier.study import read_plan
from oahier.study.runner import resolved_cells

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = ROOT / "oahier" / "configs"
OWN_DATA = CONFIGS / "own_data.yaml"
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str
    reason: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text[: found.start("code")].count("\n")
        yield Block(page, line, found["language"], textwrap.dedent(found["code"]), found["reason"])


ALL = [block for page in PAGES for block in blocks(page)]
RUN = [block for block in ALL if block.reason is None]


def pages_with_blocks() -> list[Any]:
    """Pages with blocks; the README trains a large network, as its reader does."""
    pages = dict.fromkeys(block.page for block in RUN if block.language in ("python", "bash", "yaml"))
    slow = {ROOT / "README.md": [pytest.mark.slow]}
    names = {page: page.relative_to(ROOT).with_suffix("").as_posix() for page in pages}
    return [pytest.param(page, id=name, marks=slow.get(page, [])) for page, name in names.items()]


@pytest.fixture(scope="module")
def parser() -> Any:
    """The parser of ``oahier fit`` and its like, made once for each model that is named."""
    return TrainingParser()


class TrainingParser:
    """Parses what ``oahier fit`` and its like are given, by the classes that are named there."""

    def __init__(self) -> None:
        self.made: dict[Classes, Any] = {}

    def parse_args(self, words: list[str]) -> Any:
        classes = Classes.named_by(words)
        if classes not in self.made:
            self.made[classes] = self.made_for(words)
        return self.made[classes].parse_args(without_classes(words))

    @staticmethod
    def made_for(words: list[str]) -> Any:
        class Found(Exception):
            pass

        def stop(_: Any, parser: Any, args: Any) -> None:
            raise Found(parser)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OahierCLI, "parse_arguments", stop)
            with pytest.raises(Found) as found:
                run_training_command(words)
        return found.value.args[0]


def give_files(folder: Path, phantoms: Any) -> None:
    """What a reader has: the examples, the configurations of init, a manifest, and a run that was fitted."""
    for path in CONFIGS.glob("*.yaml"):
        (folder / path.name).write_text(filled(path.read_text(), "knees.csv", "runs/mine"))
    (folder / "examples").symlink_to(ROOT / "examples")
    phantoms.write(folder / "knees.csv")
    phantoms.write(folder / "new.csv")
    config = yaml.safe_load(OWN_DATA.read_text())
    config["data"]["manifest"] = "knees.csv"
    for run in ("demo", "mine"):
        path = folder / "runs" / run / "config.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(config))
    (folder / "runs" / "change").mkdir()
    (folder / "runs" / "change" / "config.yaml").write_text((folder / "change.yaml").read_text())
    phantoms.write(folder / "knees" / "split.csv")  # of an import
    (folder / "knees" / "data.yaml").write_text("data: {manifest: knees/split.csv}\n")


@pytest.mark.parametrize("page", pages_with_blocks())
def test_page(page: Path, short: Path, phantoms: Any, parser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    give_files(short, phantoms)
    module = types.ModuleType("my_package")
    monkeypatch.setitem(sys.modules, "my_package", module)
    monkeypatch.setenv("OAHIER_TRUST", "my_package")
    restrict_parsers()
    for number, block in enumerate(block for block in RUN if block.page == page):
        if block.language == "python":  # line numbers of errors are those of the page
            exec(compile("\n" * block.line + block.code, str(page), "exec"), module.__dict__)
        elif block.language == "bash":
            for words in commands(block):
                check_command(words, parser)
        elif block.language == "yaml":
            check_configuration(block, short / f"block-{number}.yaml", parser)


def commands(block: Block) -> Iterator[list[str]]:
    """Words of each line, without comments and environment variables."""
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words:
            yield words


def check_configuration(block: Block, path: Path, parser: Any) -> None:
    content = yaml.safe_load(block.code)
    path.write_text(block.code)
    if "grid" in content:
        assert resolved_cells(read_plan(path))
        return
    assert set(content) <= {"trainer", "model", "data", "seed_everything", "ckpt_path", "speed"}, block
    parser.parse_args(["fit", "--config=runs/mine/config.yaml", f"--config={path}"])


def check_command(words: list[str], parser: Any) -> None:
    program, *rest = words
    if program == "oahier" and (rest[0] == "--version" or "--help" in rest):
        assert main(rest) == 0
    elif program == "oahier" and rest[0] == "data":
        check_data_command(rest[1:])
    elif program == "oahier" and rest[0] == "compare":
        compare_parser().parse_args(rest[1:])
    elif program == "oahier" and rest[0] == "study":
        study = importlib.import_module("oahier.cli.study")
        getattr(study, f"{rest[1]}_parser")().parse_args(rest[2:])
    elif program == "oahier" and rest[0] in ("predict", "export", "init", "clinical", "change", "benchmark"):
        module = importlib.import_module(f"oahier.cli.{rest[0]}")
        getattr(module, f"{rest[0]}_parser")().parse_args(rest[1:])
    elif program == "oahier":
        parser.parse_args(rest)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{rest[0]}:", makefile, re.MULTILINE), f"no target {rest[0]}"
    elif program == "python":
        script = " ".join(rest[:2]) if rest[0] == "-m" else rest[0]
        places = {
            "-m benchmarks": "benchmarks/__main__.py",
            "-m benchmarks.coverage": "benchmarks/coverage.py",
            "-m pytest": "pyproject.toml",
        }
        assert (ROOT / places.get(script, script)).is_file(), f"no script {script}"
    elif program == "pip":
        for extra in re.findall(r"oahier\[(\w+)\]", " ".join(rest)):
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    else:
        assert program in {"wandb", "git", "cd", "torchrun", "srun", "sbatch", "export"}, words


def check_data_command(words: list[str]) -> None:
    """Through the parser of the command; nothing is written."""
    command, *rest = words
    module = importlib.import_module(f"oahier.cli.data.{command}_command")
    if command == "import":
        module.import_parser(rest[0], module.importer(rest[0])).parse_args(rest[1:])
    elif command == "cache":
        module.parse(rest)
    else:
        getattr(module, f"{command}_parser")().parse_args(rest)


def test_blocks_that_are_not_run_are_rare() -> None:
    not_run = [block for block in ALL if block.reason is not None]
    python = [block for block in ALL if block.language == "python"]
    assert len(not_run) <= 3, [f"{block.page.name}:{block.line}" for block in not_run]
    assert len(python) >= 15


def test_every_block_has_a_known_language() -> None:
    known = {"python", "bash", "yaml", "text", "csv", "json", "toml"}
    unknown = [
        f"{block.page.name}:{block.line} {block.language}" for block in ALL if block.language not in known
    ]
    assert not unknown
    for page in PAGES:
        fences = len(re.findall(r"^ *```", page.read_text(), re.MULTILINE))
        assert fences == 2 * len(list(blocks(page))), f"{page.name}: a block without a language"


def test_links_of_the_front_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (ROOT / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f" {page.relative_to(ROOT / 'docs').as_posix()}" in navigation, page.name


def test_reference_has_every_public_name() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)", pages, re.MULTILINE))
    for name, module in PUBLIC.items():
        assert shown & {module, f"{module}.{name}", f"oahier.{name}"}, (
            f"oahier.{name} is not in the reference"
        )


def test_metric_keys_are_all_listed() -> None:
    import torch

    from oahier.latent import axis_measures, fit_severity_axis
    from oahier.metrics import binary_metrics, hierarchy_metrics, ordinal_metrics
    from oahier.saliency import saliency_overlap

    generator = torch.Generator().manual_seed(0)
    kl = torch.arange(20) % 5
    p = torch.rand(20, 5, generator=generator).softmax(dim=1)
    embeddings = torch.rand(20, 3, generator=generator)
    fit = fit_severity_axis(embeddings, kl)
    volume = torch.rand(1, 4, 4, 4, generator=generator)
    measures = {
        *ordinal_metrics(p, kl),
        *binary_metrics(p[:, 0], (kl >= 2).long()),
        *hierarchy_metrics(p[:, 0], p),
        *axis_measures(fit, embeddings, kl),
        *saliency_overlap(volume, volume > 0.5),
    }
    page = (ROOT / "docs" / "reference" / "metric-keys.md").read_text()
    listed = set(re.findall(r"`([a-z0-9_]+)`", page))
    assert measures <= listed, f"not listed: {sorted(measures - listed)}"


def test_decisions_are_short_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "index.md").read_text()
    for record in folder.glob("[0-9]*.md"):
        text = record.read_text()
        assert record.name in index
        assert len(text.splitlines()) <= 40, record.name
        assert all(f"**{part}.**" in text for part in ("Context", "Choice", "Consequence")), record.name
