"""``oahier init``: configurations to start from, written into a folder."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import yaml
from rich.prompt import Prompt

from oahier.cli.next_steps import Step, say_next
from oahier.cli.parser import PlainParser
from oahier.files import write_atomically

MAIN = "own_data.yaml"
"""The configuration of a classifier, with the manifest and the run's folder."""
CHANGE = "change.yaml"
"""The configuration of a model of change between visits, with the same manifest and a folder of its own."""
STUDY = "study.yaml"
"""The plan of a study, which names the manifest from its own folder."""
_MANIFEST, _RUN = "knees/split.csv", "runs/mine"
_DESCRIPTION = """Write commented configurations to start from: own_data.yaml (a model of both levels),
single_oa.yaml, single_kl.yaml and others, to be laid over it; change.yaml (a model of change between visits),
and study.yaml, a plan that compares supervisions. Asks for what is not given, if run in a terminal.
"""


def init_parser() -> PlainParser:
    """The options of the command."""
    parser = PlainParser("oahier init", _DESCRIPTION)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="where to write (this folder)")
    parser.add_argument("--manifest", help=f"table of the knees ({_MANIFEST})")
    parser.add_argument("--run", help=f"folder of the run's results ({_RUN})")
    parser.add_argument(
        "--plan", action="store_true", help="fill in sizes that fit knees and machine (data plan)"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace configurations that are there")
    return parser


def run_init_command(words: list[str]) -> int:
    """Write the configurations.

    Raises:
        ValueError: one of them is there already, or a plan is asked for and no header can be read.
        ManifestError: a plan is asked for, and the manifest cannot be read.
    """
    options = init_parser().parse_args(words)
    asking = not options.yes and sys.stdin.isatty()
    manifest = options.manifest or _answer("Manifest, a CSV table of the knees", _MANIFEST, asking)
    run = options.run or _answer("Folder of the run's results", _RUN, asking)
    texts = {item.name: item.read_text(encoding="utf-8") for item in configurations()}
    texts[MAIN] = filled(texts[MAIN], manifest, run)
    texts[CHANGE] = filled(texts[CHANGE], manifest, f"{run}-change")
    plan = resources.files("oahier").joinpath("configs", "plans", STUDY).read_text(encoding="utf-8")
    beside = Path(os.path.relpath(manifest, options.folder)).as_posix()
    texts[STUDY] = plan.replace(_MANIFEST, json.dumps(beside), 1).replace("runs/study", f"{run}-study")
    there = [name for name in texts if (options.folder / name).exists()]
    if there and not options.overwrite:
        raise ValueError(
            f"{options.folder / there[0]} is there already; name another folder, or --overwrite replaces it"
        )
    if options.plan:
        texts[MAIN] = with_plan(texts[MAIN], manifest)
    for name, text in sorted(texts.items()):
        write_atomically(options.folder / name, text)
    config = options.folder / MAIN
    print(f"written: {', '.join(sorted(texts))} in {options.folder.resolve()}")
    here = Path(manifest).exists()
    make: Step = (["data", "import", "--help"], f"make {manifest}, which is not there yet")
    look: Step = (["data", "check", manifest], "errors and warnings before anything is trained")
    size: Step = (["data", "plan", manifest, "--out", "plan.yaml"], "a size and batch that fit")
    say_next(
        look if here else make,
        *[size] * (not options.plan),
        (["data", "cache", "--config", config], "preprocess once"),
        (["fit", "--config", config], "train"),
        (["study", "run", options.folder / STUDY, "--out", f"{run}-study"], "compare supervisions"),
    )
    return 0


def configurations() -> list[resources.abc.Traversable]:
    """The configurations of the package."""
    folder = resources.files("oahier").joinpath("configs")
    return [item for item in folder.iterdir() if item.name.endswith(".yaml")]


def filled(text: str, manifest: str, run: str) -> str:
    """A configuration with the manifest and the run's folder in their places, where it has these."""
    text = text.replace("trainer:\n", f"trainer:\n  default_root_dir: {json.dumps(run)}   # results\n", 1)
    before, section, data = text.partition("\ndata:\n")
    if not section:
        return text
    class_path, arguments, rest = data.partition("  init_args:\n") if "class_path" in data else ("", "", data)
    indent = "    " if arguments else "  "
    where = f"{indent}manifest: {json.dumps(manifest)}\n"
    return f"{before}{section}{class_path}{arguments}{where}{rest}"


def with_plan(text: str, manifest: str) -> str:
    """The main configuration with what ``oahier data plan`` proposes in the places of its own values."""
    from oahier.cli.data.plan_command import device_memory, plan_training
    from oahier.data import read_manifest

    plan = plan_training(read_manifest(manifest), device_memory())
    old, new = yaml.safe_load(text), plan.settings
    pairs = {f"{name}: {old['trainer'][name]}": f"{name}: {new['trainer'][name]}" for name in new["trainer"]}
    pairs[_flow(old["model"]["encoder"]["init_args"])] = _flow(new["model"]["encoder"]["init_args"])
    sizes = "".join(f"  {name}: {value}\n" for name, value in new["data"].items() if name != "batch_size")
    pairs[f"  shape: {old['data']['shape']}\n"] = sizes
    pairs[f"batch_size: {old['data']['batch_size']}"] = f"batch_size: {new['data']['batch_size']}"
    for before, after in pairs.items():
        text = text.replace(before, after, 1)
    return "".join(f"# {reason}\n" for reason in plan.reasons) + text


def _flow(values: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"


def _answer(question: str, default: str, asking: bool) -> str:
    return Prompt.ask(question, default=default) if asking else default
