"""Word taggers: a BERT-family encoder as the student, a causal language model as the teacher.  A unit is a word.

    U units, K columns: O, B-<type>, I-<type>, ...

Both are what transformers calls a token classifier, so the saved folder runs in its pipeline.  The head sees every
sub-word; at which of them a word is read is the caller's choice, by `units_U2`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from ckd_dist.models.base import TAG_HEAD, find_base, labels_of, tagger_config
from ckd_dist.models.crf import LinearChain
from ckd_dist.models.encoder import load_encoder
from ckd_dist.models.saved import load_saved
from ckd_dist.models.teacher import TeacherOptions, build_teacher
from ckd_dist.models.wrapper import Wrapper


def build_tagger(
    base: str | Path,
    tag_names: Sequence[str],
    *,
    crf: bool = False,
    revision: str | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
) -> Wrapper:
    """Build the encoder `base` under a fresh tag head, everything trainable.

    crf: a linear-chain CRF over the units of each row.  max_tokens: of the longest row that will come.  seed: of fresh
    weights.  Raises ValueError or FileNotFoundError where the base does not fit.
    """
    config = tagger_config(base, tag_names, revision, max_tokens)
    has_chain, config.crf = crf and getattr(config, "crf", False), crf  # from an exported tagger that has one
    model = load_encoder(base, config, TAG_HEAD, revision, seed)
    chain = LinearChain(tag_names) if crf else None
    return Wrapper(model, "tags", chain.load(find_base(base, revision)) if has_chain else chain)


def build_tag_teacher(
    base: str | Path, tag_names: Sequence[str], options: TeacherOptions, max_tokens: int | None = None
) -> Wrapper:
    """Build the causal LM `base` under a fresh tag head.  max_tokens: of the longest row that will come.

    Raises ValueError or FileNotFoundError where the base does not fit.
    """
    return build_teacher(base, tagger_config(base, tag_names, options.revision, max_tokens), TAG_HEAD, options)


def load_tagger(folder: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Wrapper:
    """Load an exported tagger, whole or an adapter merged into its base, with its CRF if it has one, ready to predict.

    Raises FileNotFoundError where there is none, ValueError where the folder holds another model or lacks its CRF.
    """
    model = load_saved(Path(folder), TAG_HEAD, "tagger", dtype, device)
    chain = LinearChain(labels_of(model.config)).load(Path(folder)) if getattr(model.config, "crf", False) else None
    return Wrapper(model, "tags", chain).to(device).eval()
