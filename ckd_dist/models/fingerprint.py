"""Which model is this?  A hash of the bytes that decide its logits: weights, configuration, tokenizer, chat template.

Never of a path, so a model that is moved stays itself; never of a README or of version stamps.  An adapter's hash takes
in its base's, because it is nothing without it.  A file is hashed once and remembered by (path, size, mtime): for the
life of the process, and by other processes that are told (`known_hashes`, `learn_hashes`).
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ckd_dist.files import hash_file
from ckd_dist.models.base import find_base

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
)
# Stamps and places, not content.
IGNORED = {
    "_name_or_path",
    "name_or_path",
    "transformers_version",
    "peft_version",
    "base_model_name_or_path",
    "base_folder",
    "revision",
    "inference_mode",
    "dtype",
    "torch_dtype",
    "use_cache",
}

_hashes: dict[tuple[str, int, int], str] = {}  # path, size, mtime in nanoseconds -> sha256


def fingerprint(folder: str | Path) -> str:
    """Hash an exported teacher, student or base: 64 hex digits."""
    folder = Path(folder)
    parts = {
        "weights": {file.name: hash_once(file) for file in sorted(folder.glob("*.safetensors"))},
        "configs": [_settings(file) for file in (folder / "config.json", folder / "classifier" / "config.json")],
        "tokenizer": fingerprint_tokenizer(folder),
    }
    if not parts["weights"]:
        raise FileNotFoundError(f"model {folder.name}: no safetensors in its folder")
    if (folder / "adapter_config.json").is_file():
        parts["adapter"] = _settings(folder / "adapter_config.json")
        parts["base"] = fingerprint(base_of(folder))
    return _hash_of(parts)


def fingerprint_tokenizer(folder: str | Path) -> str:
    """Hash a tokenizer's files and its chat template: 64 hex digits."""
    files = [Path(folder) / name for name in TOKENIZER_FILES]
    return _hash_of({f.name: _settings(f) if f.suffix == ".json" else hash_once(f) for f in files if f.is_file()})


def hash_once(file: Path) -> str:
    """Return the sha256 of a file, read only where it is new, or has another size or time than when it was hashed."""
    file = file.resolve()
    stat = file.stat()
    place = str(file), stat.st_size, stat.st_mtime_ns
    if place not in _hashes:
        _hashes[place] = hash_file(file)
    return _hashes[place]


def known_hashes() -> list[tuple[str, int, int, str]]:
    """Return path, size, mtime in nanoseconds and sha256 of every file that is known here."""
    return [(*place, sha256) for place, sha256 in _hashes.items()]


def learn_hashes(known: Iterable[tuple[str, int, int, str]]) -> None:
    """Take over what another process knows.  A file that has changed since, or lies elsewhere here, is hashed again."""
    _hashes.update({(path, size, mtime_ns): sha256 for path, size, mtime_ns, sha256 in known})


def base_of(folder: Path) -> Path:
    """Find the base of the adapter in `folder`: as recorded, else at the same place relative to it."""
    settings = json.loads((folder / "adapter_config.json").read_text())
    recorded = settings["base_model_name_or_path"]
    if not Path(recorded).is_absolute() or Path(recorded).is_dir():
        return find_base(recorded, settings.get("revision"))
    classifier = folder / "classifier" / "config.json"
    beside = json.loads(classifier.read_text()).get("base_folder") if classifier.is_file() else None
    if beside and (folder / beside).is_dir():
        return find_base(folder / beside)
    raise FileNotFoundError(f"model {folder.name}: its base, recorded as {recorded}, is not there; put it back")


def _settings(file: Path) -> object:
    """A JSON file's content without stamps and places; None where there is no file."""
    if not file.is_file():
        return None
    content = json.loads(file.read_text())
    return {k: v for k, v in content.items() if k not in IGNORED} if isinstance(content, dict) else content


def _hash_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
