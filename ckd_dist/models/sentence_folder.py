"""Read and write the folder form of sentence-transformers: modules.json names what follows what.

    modules.json                    Transformer, Pooling, then Dense and Normalize in any number
    config.json, model.safetensors, tokenizer, sentence_bert_config.json     the Transformer's, at the top
    1_Pooling/config.json           which tokens a row's vector is made of
    2_Dense/{config.json, model.safetensors}

Only these four modules are read, safetensors only, and no class is looked up by the name that a folder gives.  Left
out: pooling by maximum, weighted or several at once, layers per token, prompts that a folder adds by itself.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from ckd_dist.models.fingerprint import fingerprint

MODULES = "modules.json"
POOLINGS = {"cls": "cls", "mean": "mean", "lasttoken": "last"}  # theirs: ours
OLD_KEYS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_lasttoken": "lasttoken"}
OTHERS = ("pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens")
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "torch.nn.modules.linear.Identity": nn.Identity,
    "torch.nn.modules.activation.Tanh": nn.Tanh,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
    "torch.nn.modules.activation.GELU": nn.GELU,
}


class Normalize(nn.Module):
    """Scale rows to length 1."""

    def forward(self, vectors_BD: Tensor) -> Tensor:
        """Return `vectors_BD` with rows of length 1."""
        return normalize(vectors_BD, dim=1)


@dataclass(frozen=True)
class SentenceFolder:
    """What such a folder says beside its Transformer."""

    backbone: Path  # the Transformer's own folder
    pooling: str
    after: nn.Sequential  # [B, D] -> [B, width]
    max_tokens: int | None
    lower: bool  # texts are lower-cased first
    files: tuple[Path, ...]  # that say so


def is_sentence_folder(folder: Path) -> bool:
    """Say whether sentence-transformers wrote it, or someone who follows it."""
    return (folder / MODULES).is_file()


def read_sentence_folder(folder: Path) -> SentenceFolder:
    """Read all but the Transformer's weights.  Raises ValueError for what this project does not compute."""
    folder = Path(folder)
    modules = json.loads((folder / MODULES).read_text())
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    places = [_inside(folder, module["path"]) for module in modules]
    strange = [kind for kind in kinds[2:] if kind not in ("Dense", "Normalize")]
    if kinds[:2] != ["Transformer", "Pooling"] or strange:
        raise ValueError(
            f"base {folder.name}: its modules are {', '.join(kinds)}; only Transformer, Pooling, then Dense or "
            "Normalize are read; name a pooling to use its Transformer alone"
        )
    own = _settings(folder / "config_sentence_transformers.json")
    if own.get("default_prompt_name"):
        raise ValueError(
            f"base {folder.name}: it puts a prompt of its own before every text; say it in `template` and name a "
            "pooling"
        )
    steps = [
        _dense(place, folder) if kind == "Dense" else Normalize()
        for kind, place in zip(kinds[2:], places[2:], strict=True)
    ]
    reading = sorted(places[0].glob("sentence_*_config.json"))[:1]  # sentence_bert_config, sentence_roberta_config ...
    reads = _settings(reading[0]) if reading else {}
    files = [file for place in places[1:] for file in sorted(place.glob("*")) if file.is_file()]
    return SentenceFolder(
        backbone=places[0],
        pooling=_pooling(places[1], folder),
        after=nn.Sequential(*steps).eval(),
        max_tokens=reads.get("max_seq_length"),
        lower=bool(reads.get("do_lower_case")),
        files=(folder / MODULES, *reading, *files),
    )


def write_sentence_folder(folder: Path, dense: nn.Linear, max_tokens: int) -> None:
    """Add mean pooling and `dense` to a folder that has the Transformer and its tokenizer."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    _write(
        folder / MODULES,
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(kinds.items())
        ],
    )
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": "cosine"})
    wide = {"word_embedding_dimension": dense.in_features} | dict.fromkeys((*OLD_KEYS, *OTHERS), False)
    _write(folder / "1_Pooling" / "config.json", wide | {"pooling_mode_mean_tokens": True, "include_prompt": True})
    shape = {"in_features": dense.in_features, "out_features": dense.out_features, "bias": True}
    _write(folder / "2_Dense" / "config.json", shape | {"activation_function": "torch.nn.modules.linear.Identity"})
    tensors = {
        f"linear.{name}": tensor.detach().float().cpu().contiguous() for name, tensor in dense.state_dict().items()
    }
    save_file(tensors, folder / "2_Dense" / "model.safetensors", metadata={"format": "pt"})


def fingerprint_modules(folder: Path) -> str:
    """Hash the Transformer and all that the folder says beside it: 64 hex digits."""
    own = read_sentence_folder(folder)
    bytes_of = [hashlib.sha256(file.read_bytes()).hexdigest() for file in own.files]
    return hashlib.sha256(json.dumps([fingerprint(own.backbone), bytes_of]).encode()).hexdigest()


def _pooling(place: Path, folder: Path) -> str:
    settings = _settings(place / "config.json")
    modes = settings.get("pooling_mode") or [mode for key, mode in OLD_KEYS.items() if settings.get(key)]
    modes = [modes] if isinstance(modes, str) else list(modes)
    known = len(modes) == 1 and modes[0] in POOLINGS and not any(settings.get(key) for key in OTHERS)
    if not known:
        raise ValueError(f"base {folder.name}: its pooling is none of {', '.join(POOLINGS)}; name one of ours")
    return POOLINGS[modes[0]]


def _dense(place: Path, folder: Path) -> nn.Module:
    settings = _settings(place / "config.json")
    activation = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
    per_row = settings.get("module_input_name", "sentence_embedding") == "sentence_embedding"
    if activation not in ACTIVATIONS or settings.get("use_residual") or not per_row:
        raise ValueError(f"base {folder.name}: its {place.name} is not a plain layer; name a pooling to leave it out")
    if not (place / "model.safetensors").is_file():
        raise ValueError(f"base {folder.name}: {place.name}/model.safetensors is not there; only safetensors are read")
    linear = nn.Linear(settings["in_features"], settings["out_features"], settings.get("bias", True))
    tensors = {name.removeprefix("linear."): tensor for name, tensor in load_file(place / "model.safetensors").items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != {n: p.shape for n, p in linear.state_dict().items()}:
        raise ValueError(f"base {folder.name}: the tensors of {place.name} have not the shape that its config states")
    linear.load_state_dict(tensors)
    return nn.Sequential(linear.float(), ACTIVATIONS[activation]())


def _inside(folder: Path, path: str) -> Path:
    """Return a module's folder; raise ValueError for one outside."""
    place = folder / path
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"base {folder.name}: {MODULES} names a place outside of the folder")
    return place


def _settings(file: Path) -> dict:
    return json.loads(file.read_text()) if file.is_file() else {}


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
