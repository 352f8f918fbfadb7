"""Trained models on the Hugging Face hub: what is exported goes there, and comes back as files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import ModuleType

import torch

from oahier.export.exporting import CARD, export_checkpoint
from oahier.export.weights import DESCRIPTION, WEIGHTS
from oahier.model.checkpoints import CheckpointError, without_people

CHECKPOINT = "model.ckpt"
_NAMES = (CARD, "export.json", WEIGHTS, DESCRIPTION, CHECKPOINT)


def push_to_hub(
    checkpoint: str | Path, repository: str, *, private: bool = True, token: str | None = None
) -> str:
    """Upload a trained model: weights as safetensors, a model card, and a checkpoint for ``oahier predict``.

    The checkpoint that is uploaded names no knee and no subject (see
    :func:`~oahier.model.checkpoints.without_people`). Look at ``README.md`` before you make the repository
    public, and add a licence.

    Args:
        checkpoint: written by Lightning while oahier trained.
        repository: ``"name/model"``; made if it does not exist.
        private: whether a repository that is made is private.
        token: of an account; the one of ``hf auth login`` when not given.

    Returns:
        The address of the repository.

    Raises:
        ImportError: huggingface_hub is not installed (extra ``oahier[hub]``).
        CheckpointError, ExportError: see :func:`~oahier.export.export_checkpoint`; nothing is uploaded then.
    """
    hub = _hub()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_checkpoint(checkpoint, folder, ["safetensors"])
        torch.save(without_people(checkpoint), folder / CHECKPOINT)
        api = hub.HfApi(token=token)
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Upload a model of oahier",
            allow_patterns=list(_NAMES),
        )
    return str(address)


def pull_from_hub(
    repository: str,
    *,
    revision: str | None = None,
    folder: str | Path | None = None,
    token: str | None = None,
) -> Path:
    """Download a model that :func:`push_to_hub` uploaded; nothing in it is run.

    Args:
        repository: ``"name/model"``.
        revision: branch, tag or commit; the latest when not given. Name a commit where results must stay.
        folder: where the files go; the hub's cache when not given.
        token: for private repositories.

    Returns:
        A folder with ``model.ckpt`` for ``oahier predict`` and ``load_from_checkpoint``,
        ``model.safetensors`` and ``model.json`` for :func:`~oahier.export.load_weights`, and ``README.md``.

    Raises:
        ImportError: huggingface_hub is not installed (extra ``oahier[hub]``).
        CheckpointError: the repository has no such model.
    """
    path = _hub().snapshot_download(
        repository,
        revision=revision,
        local_dir=folder,
        token=token,
        allow_patterns=list(_NAMES),
        library_name="oahier",
    )
    if not (Path(path) / CHECKPOINT).is_file():
        raise CheckpointError(
            f"{repository}: expected {CHECKPOINT} as oahier.export.push_to_hub uploads it, found "
            f"{sorted(one.name for one in Path(path).iterdir())}"
        )
    return Path(path)


def _hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError("the Hugging Face hub needs huggingface_hub: pip install 'oahier[hub]'") from error
    module: ModuleType = huggingface_hub
    return module
