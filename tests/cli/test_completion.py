"""Completion, by a shell that runs the script."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from oahier.cli import main
from oahier.cli.help import PARSERS


def completed(script: str, folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    path = folder / "completion.sh"
    path.write_text(script)
    line = " ".join(f"'{word}'" for word in ("oahier", *words))
    ask = f"source {path}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _oahier"
    ask += "; printf '%s\\n' \"${COMPREPLY[@]}\""
    found = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=folder)
    assert not found.stderr
    return found.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    (tmp_path / "own data.yaml").touch()
    (tmp_path / "initial.csv").touch()
    assert completed(script, tmp_path, "data", "im") == ["import"]
    assert completed(script, tmp_path, "data", "import", "oai") == ["oai", "oai-zib", "oaizib-cm"]
    assert completed(script, tmp_path, "in") == ["init", "initial.csv"]
    assert completed(script, tmp_path, "fit", "--trainer.max") == ["--trainer.max_epochs"]
    assert "--manifest" in completed(script, tmp_path, "init", "folder", "--")
    assert completed(script, tmp_path, "completion", "z") == ["zsh"]
    assert all(not word.startswith("-") for word in completed(script, tmp_path, "study", ""))
    for command in PARSERS:
        offered = completed(script, tmp_path, *command.split()[:-1], command.split()[-1][:3])
        assert command.split()[-1] in offered


def test_zsh_reads_the_same_and_others_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out
    assert main(["completion", "fish"]) == 2
    assert "expected bash or zsh, got 'fish'" in capsys.readouterr().err
