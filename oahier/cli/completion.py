"""``oahier completion bash | zsh``: a script by which a shell completes commands and options.

The script is made of the texts that ``--help`` prints, and asks nobody when it completes.
"""

from __future__ import annotations

import re
import sys

from oahier.cli.help import FOLDER, TRAINING

_SHELLS = ("bash", "zsh")
_USAGE = """usage: oahier completion bash|zsh

Print a script that completes commands, options and files. For this shell, or in ~/.bashrc or ~/.zshrc:
  source <(oahier completion bash)"""

_FUNCTION = """# completion of oahier, made by `oahier completion {shell}`
{start}_oahier() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" command="" words="" index=1
  while [ $index -lt $COMP_CWORD ]; do
    case "${{command:+$command }}${{COMP_WORDS[$index]}}" in
      {known}) command="${{command:+$command }}${{COMP_WORDS[$index]}}" ;;
      *) break ;;
    esac
    index=$((index + 1))
  done
  case "$command" in
{cases}
  esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    *) words=$(printf '%s\\n' $words | grep -v '^-')
       COMPREPLY=($(compgen -W "$words" -- "$cur") $(compgen -f -- "$cur")) ;;
  esac
}}
complete -o filenames -F _oahier oahier
"""


def run_completion_command(words: list[str]) -> int:
    """Print the script of a shell.

    Returns:
        0; 2 for another shell.
    """
    if words in ([], ["-h"], ["--help"]):
        print(_USAGE)
        return 0
    if len(words) != 1 or words[0] not in _SHELLS:
        print(
            f"oahier completion: error: expected {' or '.join(_SHELLS)}, got {' '.join(words)!r}",
            file=sys.stderr,
        )
        return 2
    print(script(words[0]), end="")
    return 0


def script(shell: str) -> str:
    """The script of a shell; zsh reads the one of bash through its ``bashcompinit``."""
    found = completions()
    cases = "\n".join(f'    "{command}") words="{" ".join(words)}" ;;' for command, words in found.items())
    known = "|".join(f'"{command}"' for command in found if command)
    start = "autoload -U +X compinit bashcompinit && compinit && bashcompinit\n" if shell == "zsh" else ""
    return _FUNCTION.format(shell=shell, start=start, known=known, cases=cases)


def completions() -> dict[str, list[str]]:
    """What may follow each command: its subcommands, then its options.

    >>> completions()["data import"][:3], completions()["completion"]
    (['dicom', 'nifti', 'oai'], ['bash', 'zsh'])
    """
    texts = {_command(path.stem): path.read_text(encoding="utf-8") for path in FOLDER.glob("*.txt")}
    commands = sorted({*texts, *TRAINING, "data", "completion"})
    found: dict[str, list[str]] = {}
    for command in ("", *commands):
        start = f"{command} " if command else ""
        rests = [one.removeprefix(start) for one in commands if one.startswith(start)]
        below = sorted({rest.split()[0] for rest in rests})
        found[command] = [*below, *_options(texts.get(command, ""))]
    found["completion"] = list(_SHELLS)
    return found


def _command(stem: str) -> str:
    """The words of a command whose help is a file.

    >>> _command("data-import-oai-zib"), _command("study-run"), _command("fit")
    ('data import oai-zib', 'study run', 'fit')
    """
    first, _, rest = stem.partition("-")
    if first == "data" and rest.startswith("import-"):
        return f"data import {rest.removeprefix('import-')}"
    return f"{first} {rest}".strip()


def _options(text: str) -> list[str]:
    """The options that a help text lists at the start of its lines."""
    lines = [line.strip().split("  ")[0] for line in text.splitlines() if line.lstrip().startswith("-")]
    found = {option for line in lines for option in re.findall(r"--[a-zA-Z][\w.-]*\w", line)}
    return sorted(option for option in found if option == option.lower())  # no --model.heads.NAME
