"""Word taggers: a BERT-family encoder as the student, a causal language model as the teacher.  A unit is a word.

    U units, K columns: O, B-<type>, I-<type>, ...

Both are what transformers calls a token classifier, so the saved folder runs in its pipeline.  The head sees every
sub-word; which of them stands for a word is the caller's choice, by `units_U2`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForTokenClassification

from ckd_dist.models.base import find_base, labels_of, tagger_config
from ckd_dist.models.crf import LinearChain
from ckd_dist.models.encoder import load_encoder
from ckd_dist.models.saved import load_saved
from ckd_dist.models.teacher import Making, build_teacher
from ckd_dist.models.wrapper import Head


def build_tagger(
    base: str | Path,
    tag_names: Sequence[str],
    *,
    crf: bool = False,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    attention: str | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
) -> Head:
    """The encoder `base` under a fresh tag head, everything trainable.

    crf: a linear-chain CRF over the units of each row.  attention: none: the best that the architecture has.
    max_tokens: longest row that will come.  Raises ValueError or FileNotFoundError where the base does not fit.
    """
    config = tagger_config(base, tag_names, revision, max_tokens)
    goes_on, config.crf = crf and getattr(config, "crf", False), crf  # from an exported tagger that has one
    model = load_encoder(base, config, AutoModelForTokenClassification, revision, dtype, attention, seed)
    chain = LinearChain(tag_names) if crf else None
    return Head(model, "tags", chain.load(find_base(base, revision)) if goes_on else chain)


def build_tag_teacher(base: str | Path, tag_names: Sequence[str], **how: Any) -> Head:
    """The causal LM `base` under a fresh tag head.  how: the fields of `teacher.Making`.

    Trainable: all of it ("full"), or adapter and head ("lora").  Raises ValueError or FileNotFoundError where the base
    does not fit.
    """
    making = Making(**how)
    config = tagger_config(base, tag_names, making.revision, making.max_tokens)
    return build_teacher(base, config, "tags", making)


def load_tagger(folder: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Head:
    """An exported tagger, whole or an adapter merged into its base, with its CRF if it has one, ready to predict.

    Raises FileNotFoundError where there is none, ValueError where the folder holds another model or lacks its CRF.
    """
    model = load_saved(Path(folder), AutoModelForTokenClassification, "tagger", dtype, device)
    chain = LinearChain(labels_of(model.config)).load(Path(folder)) if getattr(model.config, "crf", False) else None
    return Head(model, "tags", chain).to(device).eval()
