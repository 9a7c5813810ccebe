"""The model folder: manifest, atomic write, checkpoints; what is read was verified first."""

from jumok.store.atomic import AtomicFolder
from jumok.store.checkpoints import (
    Checkpoint,
    latest_good,
    list_checkpoints,
    prepare,
    remove_checkpoints,
    save_checkpoint,
    set_aside,
)
from jumok.store.disk import DISK, Disk
from jumok.store.folder import Folder, open_folder, save_folder
from jumok.store.lock import locked
from jumok.store.manifest import FORMAT, Manifest
from jumok.store.tensors import dump_tensors, parse_tensors, specs

__all__ = [
    "DISK",
    "FORMAT",
    "AtomicFolder",
    "Checkpoint",
    "Disk",
    "Folder",
    "Manifest",
    "dump_tensors",
    "latest_good",
    "list_checkpoints",
    "locked",
    "open_folder",
    "parse_tensors",
    "prepare",
    "remove_checkpoints",
    "save_checkpoint",
    "save_folder",
    "set_aside",
    "specs",
]
