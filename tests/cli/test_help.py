"""Help texts and one-line errors of every command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oahier.cli import main
from oahier.cli.help import FOLDER, TRAINING, wanted_help
from oahier.cli.wording import one_line

BEFORE_PARSING = {"--trust", "--traceback", "--model.class_path", "--data.class_path"}
"""Options that are read before there is a parser."""


@pytest.fixture(scope="module")
def current() -> dict[str, str]:
    """From a process of its own: parsers list the classes that happen to be imported."""
    script = "import json\nfrom oahier.cli.help import texts\nprint('TEXTS' + json.dumps(texts()))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    made: dict[str, str] = json.loads(shown.stdout.rpartition("TEXTS")[2])
    return made


def test_help_texts_are_those_of_the_parsers(current: dict[str, str]) -> None:
    for name, text in current.items():
        path = FOLDER / f"{name.replace(' ', '-')}.txt"
        assert path.read_text(encoding="utf-8") == text, f"run: python -m oahier.cli.help ({name})"
    known = {f"{name.replace(' ', '-')}.txt" for name in (*current, *TRAINING)}
    assert {path.name for path in FOLDER.iterdir()} == known


def test_no_help_shows_the_marks_of_a_docstring(current: dict[str, str]) -> None:
    marked = [name for name, text in current.items() if "`" in text or re.search(r":\w+:~?oahier", text)]
    assert not marked


def test_help_of_an_option_is_read_on_its_own() -> None:
    """Not "of the resampling", to be joined to the name of the option."""
    texts = [file.read_text() for file in FOLDER.glob("*.txt")]
    option = re.compile(r"^  (?:-|\w+ {2,}).*(?: {2}|\n {24})of ", re.MULTILINE)
    assert [match[0] for text in texts for match in option.finditer(text)] == []


def test_every_command_is_helped_without_loading_torch(current: dict[str, str]) -> None:
    commands = [["help"], ["data", "--help"], ["data", "import", "-h"], ["study", "--help"]]
    commands += [[*name.split(), "--help"] for name in (*current, *TRAINING)]
    script = (
        "import sys\nfrom oahier.cli import main\n"
        f"for words in {commands!r}:\n"
        "    assert main(words) == 0, words\n"
        "assert not {'torch', 'lightning', 'pandas', 'jsonargparse'} & set(sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("usage: ") == len(commands)


@pytest.mark.parametrize("command", ["fit", "test"])
def test_help_of_training_names_real_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = wanted_help([command, "--help"])
    assert text is not None
    assert len(text.splitlines()) < 60
    with pytest.raises(SystemExit):
        main([command, "--help-all"])
    full = capsys.readouterr().out
    for option in set(re.findall(r"--[a-z_]+(?:\.[a-z_]+)*", text)) - BEFORE_PARSING:
        stem = re.sub(r"\.init_args|(?<=heads)\.\w+|\.$", "", option)
        assert option == "--help-all"[:6] or re.search(rf"{re.escape(stem)}[ ,\n]", full), option


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train"], "no command 'train'"),
        (["valdate"], "Did you mean 'validate'?"),
        (["fit"], "expected --config FILE (oahier init writes one)"),
        (["test"], "expected --config RUN/config.yaml"),
        (["--config", "own.yaml"], "expected a command before --config"),
        (["data", "splt"], "'splt'"),
        (["study", "runn"], "'runn'"),
    ],
)
def test_unknown_commands(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_every_option_with_a_wrong_value_ends_in_one_line(
    current: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tried = 0
    for name in set(current) - {"init"}:  # which takes any text
        for option in dict.fromkeys(re.findall(r"\[(--[a-z0-9-]+) [\[{A-Z]", current[name])):
            tried += _refused([*name.split(), *_required(current[name]), option, "{]:"], capsys)
        _refused([*name.split(), *_required(current[name]), "--no-such-option", "1"], capsys)
    assert tried > 60


def _required(text: str) -> list[str]:
    """A value for each word and option that a command asks for."""
    usage = text[: text.index("\n\n")]
    open_words = re.sub(r"\[[^\]]*\]+", "", usage).replace("...", "").split()[2:]
    return ["nothing" if not word.startswith("--") else word for word in open_words if word.isascii()]


def _refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    try:
        status = main(words)
    except SystemExit as end:
        status = int(end.code or 0)
    said = capsys.readouterr().err
    assert status in (1, 2), (words, said)
    assert "Traceback" not in said, words
    assert len(said.strip().splitlines()) <= 3, (words, said)
    return 1


def test_errors_of_the_option_parser_in_one_line() -> None:
    union = (
        'Parser key "trainer.max_epochs":\n  Does not validate against any of the Union subtypes\n'
        "  Subtypes: [<class 'int'>, <class 'NoneType'>]\n  Errors:\n    - Expected a <class 'int'>\n"
        "    - Expected a <class 'NoneType'>\n  Given value type: <class 'str'>\n  Given value: two"
    )
    assert one_line(union) == "--trainer.max_epochs: expected a whole number or null, got 'two'"
    reason = (
        "Does not validate against any of the Union subtypes\nSubtypes: [<class 'Module'>]\nErrors:\n"
        "  - ResNet3D: width must be a positive multiple of 8, got 4\n  - Expected a <class 'str'>\n"
        "Given value type: <class 'jsonargparse._namespace.Namespace'>\nGiven value: Namespace(width=4)"
    )
    assert one_line(reason) == "ResNet3D: width must be a positive multiple of 8, got 4"


CONFIG = """
model:
  encoder: {class_path: oahier.ResNet3D, init_args: {width: 8}}
  heads:
    kl: {class_path: oahier.SoftmaxHead, init_args: {num_classes: 5}}
data: {manifest: nothing.csv, shape: [8, 8, 8]}
trainer: {logger: false, accelerator: cpu}
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--model.encoder.init_args.width 4", "width must be a positive multiple of 8, got 4"),
        ("--model.encoder.init_args.wdth 8", "there is no option 'wdth'. Did you mean 'width'"),
        ("--data.batchsize 3", "there is no option '--data.batchsize'. Did you mean '--data.batch_size'"),
        ("--config typo.yaml", "there is no option 'trainer.max_epoch'. Did you mean 'trainer.max_epochs'"),
        ("--config broken.yaml", "broken.yaml: expected YAML: line 3, column 1: expected"),
        ("own.yaml", "a configuration is given as --config own.yaml"),
        ("--model.encoder.class_path oahier.ResNet4D", "ResNet3D"),
        ("--model.heads.kl.init_args.num_classes 1", "num_classes must be at least 2, got 1"),
        ("--trainer.max_epochs two", "--trainer.max_epochs: expected a whole number or null, got 'two'"),
        ("--trainer.accelerator tpu9 --data.manifest knees.csv", "tpu9"),
        ("--data.shape 3", "--data.shape: expected a list, got '3'"),
        ("--modell.x 3", "--modell.x"),
        ("--config nothing.yaml", "nothing.yaml"),
    ],
)
def test_wrong_options_of_training_end_in_one_line(
    options: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(CONFIG)
    (tmp_path / "typo.yaml").write_text("trainer: {max_epoch: 3}\n")
    (tmp_path / "broken.yaml").write_text("trainer: [1, 2\n\n")
    (tmp_path / "knees.csv").write_text("knee,subject,mri,kl\n1,1,1.nii.gz,2\n")
    nib.save(nib.Nifti1Image(np.arange(512, dtype=np.float32).reshape(8, 8, 8), np.eye(4)), "1.nii.gz")
    try:
        status = main(["fit", "--config", "own.yaml", *options.split()])
    except SystemExit as end:
        status = int(end.code or 0)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("oahier")]
    assert status == 2
    assert len(lines) == 1, lines
    assert said in lines[0]
