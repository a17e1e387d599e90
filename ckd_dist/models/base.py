"""A base model is a folder of safetensors, a config and a tokenizer; nothing else in it is read, no code in it is run.

A hub name is turned into its local snapshot first (downloaded where it is not there yet and the machine is on-line), so
that every later step, the fingerprint included, sees files.  All refusals of a base live here, each one sentence.
"""

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from ckd_dist.mistakes import raise_fault
from ckd_dist.runfolder import RunFolder

logging.disable_progress_bar()  # launch/ shows progress; not one bar a file and rank

READ = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model")


@dataclass(frozen=True)
class Head:
    """A last layer, by the names that transformers and PEFT have for models with it."""

    architecture: str  # how such a class's name ends
    task: str  # PEFT's name
    kind: str  # a wrapper's, of a causal model with it

    @property
    def auto(self) -> str:
        """Name the class that loads any such model."""
        return f"AutoModel{self.architecture}"


CLASS_HEAD = Head("ForSequenceClassification", "SEQ_CLS", "decoder")
TAG_HEAD = Head("ForTokenClassification", "TOKEN_CLS", "tags")  # may share tensor names with CLASS_HEAD
ANSWER_HEAD = Head("ForCausalLM", "CAUSAL_LM", "answers")
HEADS = (CLASS_HEAD, TAG_HEAD, ANSWER_HEAD)


def head_of(architecture: str) -> Head | None:
    """Return which head a class of transformers has, by its name; None for another one.

    >>> head_of("BertForTokenClassification").task
    'TOKEN_CLS'
    """
    return next((head for head in HEADS if architecture.endswith(head.architecture)), None)


@dataclass(frozen=True)
class Start:
    """The weights that a model starts from."""

    base: str
    revision: str | None
    max_tokens: int  # of the longest row that will come
    adapter: Path | None = None

    def after(self, folder: Path, tuning: str) -> "Start":
        """Return where the next phase starts after one of `tuning` that was exported to `folder`."""
        if tuning == "full":
            return replace(self, base=str(folder), revision=None)
        return replace(self, adapter=folder)


def find_base(base: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a base model: itself, or a hub name's snapshot.  Raise ValueError or FileNotFoundError."""
    folder = Path(base)
    if not folder.is_dir():
        folder = _snapshot(str(base), revision)
    _check_files(folder, str(base))
    return folder


def load_tokenizer(base: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the base's own tokenizer, padding on the right.  Raise ValueError where it has no pad token."""
    return open_tokenizer(find_base(base, revision), base)


def open_tokenizer(folder: Path, base: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder that need not be a whole base, such as an adapter's, as `load_tokenizer` does.

    Raises OSError where the system cannot read it.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # tokenizers knows no other kind
        _raise_unread(error, folder)
        if not isinstance(error, OSError | ValueError):
            raise
        raise ValueError(
            f"base {base}: no tokenizer that transformers can read without the folder's own code"
        ) from None
    if tokenizer.pad_token_id is None:
        raise ValueError(f"base {base}: its tokenizer has no pad token; set one and save the tokenizer into the folder")
    tokenizer.padding_side = "right"
    return tokenizer


def load_config(base: str | Path, revision: str | None = None) -> PreTrainedConfig:
    """Load the base's config.  Raise ValueError for an architecture that needs code of its own."""
    return open_config(find_base(base, revision), base)


def open_config(folder: str | Path, base: str | Path, revision: str | None = None) -> PreTrainedConfig:
    """Load the config of a folder that need not be a whole base, or of a hub name whose config is on this machine.

    base: what a refusal calls it.  Raises ValueError where there is none that this transformers knows, OSError
    where the system cannot read it.
    """
    try:
        return AutoConfig.from_pretrained(folder, revision=revision, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        _raise_unread(error, Path(folder))
        raise ValueError(
            f"base {base}: config.json names no architecture that this transformers has built in"
        ) from None


def classifier_config(
    base: str | Path, label_names: Sequence[str], revision: str | None = None, max_tokens: int | None = None
) -> PreTrainedConfig:
    """Load the base's config with a multi-label head.  Refuse another label set's head, and too long rows."""
    config = _head_config(base, label_names, CLASS_HEAD, revision, max_tokens)
    config.problem_type = "multi_label_classification"
    return config


def tagger_config(
    base: str | Path, tag_names: Sequence[str], revision: str | None = None, max_tokens: int | None = None
) -> PreTrainedConfig:
    """Load the base's config with a head that gives every token a tag.  Refuse what `classifier_config` refuses."""
    config = _head_config(base, tag_names, TAG_HEAD, revision, max_tokens)
    config.problem_type = None
    return config


def check_no_code(folder: Path, base: str | Path) -> None:
    """Refuse a model folder with code in it, although nothing here would run it."""
    code = sorted(path.name for path in Path(folder).glob("*.py"))
    if code:
        raise ValueError(f"base {base}: the folder holds code ({code[0]}), which is never run; give one without")


def labels_of(config: PreTrainedConfig) -> tuple[str, ...]:
    """Return the label names in column order."""
    return tuple(config.id2label[column] for column in range(config.num_labels))


def check_fit(
    base: str | Path, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None = None
) -> None:
    """Raise ValueError unless every token id has an embedding and every position a place."""
    if len(tokenizer) > config.vocab_size:
        raise ValueError(f"base {base}: its tokenizer has {len(tokenizer)} tokens, its model {config.vocab_size}")
    longest = min(getattr(config, "max_position_embeddings", None) or math.inf, tokenizer.model_max_length)
    if max_tokens and max_tokens > longest:
        raise ValueError(f"base {base}: it reads at most {longest} tokens, the prompts have up to {max_tokens}")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from reporting the fresh head as missing (`check_loaded` looks), and PEFT from deprecations.

    PEFT also warns of an adapter on embeddings that are tied to the last layer, which matters where it is merged into
    a causal language model: here that is never done (predict.py's `load_answerer`).
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", ".*tie_word_embeddings", UserWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)


def check_loaded(base: str | Path, missing: set[str], fresh: tuple[str, ...]) -> None:
    """Raise ValueError where the folder lacks tensors that are not the fresh head's."""
    lost = sorted(name for name in missing if not name.startswith(fresh))
    if lost:
        raise ValueError(f"base {base}: its safetensors lack {len(lost)} tensors of the model, first {lost[0]}")


def _head_config(
    base: str | Path, names: Sequence[str], head: Head, revision: str | None, max_tokens: int | None
) -> PreTrainedConfig:
    """Columns by name; a head that the base already has must be of this kind and for these columns."""
    if len(set(names)) != len(names) or not names:
        raise ValueError(f"label names must be distinct and not empty; got {len(names)}")
    config, tokenizer = load_config(base, revision), load_tokenizer(base, revision)
    made = config.architectures or ()
    heads = {head_of(name) for name in made}
    if heads & {CLASS_HEAD, TAG_HEAD} - {head}:
        raise ValueError(f"base {base}: it has a head of another kind ({made[0]}); name a base without a head")
    if head in heads and labels_of(config) != tuple(names):
        raise ValueError(
            f"base {base}: its head has {config.num_labels} labels that are not this run's {len(names)}; "
            "name a base without a head, or use the label set it was made for"
        )
    check_fit(base, config, tokenizer, max_tokens)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: column for column, name in enumerate(names)}
    config.pad_token_id = tokenizer.pad_token_id
    return config


def _snapshot(name: str, revision: str | None) -> Path:
    """A hub name's files on this machine, from the cache where they are there."""
    try:
        cached = Path(snapshot_download(name, revision=revision, allow_patterns=READ, local_files_only=True))
        if any(cached.glob("*.safetensors")):
            return cached
    except HFValidationError:
        raise FileNotFoundError(f"base {name}: no such folder, and not a hub name") from None
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=READ))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError):  # a network that is not there says nothing of the name
        _raise_unread_files(Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model"))
        raise FileNotFoundError(
            f"base {name}: no such folder, not in the local hub cache, and the hub did not give it; "
            "download it beforehand or give a folder"
        ) from None


def _raise_unread(error: Exception, folder: Path) -> None:
    """Raise the fault of the system that an error is, or that a library took for the absence of a file in `folder`."""
    raise_fault(error, getattr(error, "filename", None) or folder)
    _raise_unread_files(folder)


def _raise_unread_files(folder: Path) -> None:
    """Raise OSError where the system cannot say what lies in a folder."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in folder.iterdir():
            path.stat()


def _check_files(folder: Path, base: str) -> None:
    check_no_code(folder, base)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"base {base}: the folder has no config.json")
    index = folder / "model.safetensors.index.json"
    needed = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    lost = sorted(name for name in needed if not (folder / name).is_file())
    if lost:
        raise ValueError(
            f"base {base}: {lost[0]} is not in the folder; only safetensors are read, so convert .bin or .pt weights"
        )


def base_model(run: RunFolder, role: str, base: str) -> str:
    """Return the folder or hub name of a base; "tiny" is the one that was made in the run folder for `role`."""
    return str(run.base(role)) if base == "tiny" else base
