"""One way to call every model: token ids in, float32 logits of units x columns out.

    B samples, L tokens, D hidden, U units, K columns.  Rows are padded on the right.

    encoder    a student: one unit a row, pooled by the model itself
    decoder    a teacher: one unit a row, the hidden state of its last real token through `score`
    tags       a word tagger, encoder or decoder: units are (row, position) of a word's sub-word, in any order
    answers    the supervised phase: units are answer positions, columns the vocabulary

Under right padding a causal model's real tokens never see the padding, so decoders get no padding mask and attention
takes its fast path.  The vocabulary projection runs on answer positions only; models that scale or cap their vocabulary
logits after it (Gemma 2, Cohere) would need that step here.
"""

from typing import Literal

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from ckd_dist.models.crf import LinearChain

Kind = Literal["encoder", "decoder", "tags", "answers"]


class Wrapper(nn.Module):
    """A Hugging Face (or PEFT) model of any kind, called in one way.  `.model` is what is saved; a CRF goes beside."""

    def __init__(self, model: PreTrainedModel | PeftModel, kind: Kind, crf: LinearChain | None = None) -> None:
        super().__init__()
        self.model = model
        self.kind = kind
        self.crf = crf

    @property
    def plain(self) -> PreTrainedModel:
        """Return the Hugging Face model inside, adapters injected where there are any."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def forward(self, input_ids_BL: Tensor, attention_BL: Tensor, units_U2: Tensor | None = None) -> Tensor:
        """Return logits of every unit, float32 [U, K]; `units_U2` holds (row, position), for tags and answers only."""
        if self.kind == "tags":
            return self.tag(input_ids_BL, attention_BL, units_U2)
        if self.kind == "encoder":
            return self.model(input_ids=input_ids_BL, attention_mask=attention_BL).logits.float()
        hidden_BLD = self.plain.base_model(input_ids=input_ids_BL, use_cache=False).last_hidden_state
        if self.kind == "decoder":
            return self.score_last(hidden_BLD, attention_BL.sum(1) - 1)
        hidden_UD = hidden_BLD[units_U2[:, 0], units_U2[:, 1]]
        return self.plain.get_output_embeddings()(hidden_UD).float()

    def tag(self, input_ids_BL: Tensor, attention_BL: Tensor, units_U2: Tensor) -> Tensor:
        """Return the token head's logits of every unit, or a CRF's log-marginals of them: float32 [U, K]."""
        is_decoder = hasattr(self.plain, "score")  # what transformers calls the head of a causal tagger
        how = {"use_cache": False} if is_decoder else {"attention_mask": attention_BL}
        logits_BLK = self.plain(input_ids=input_ids_BL, **how).logits
        logits_UK = logits_BLK[units_U2[:, 0], units_U2[:, 1]].float()
        return logits_UK if self.crf is None else self.crf(logits_UK, units_U2)

    def score_last(self, hidden_BLD: Tensor, last_B: Tensor) -> Tensor:
        """Return the classification head's logits at one position a row, float32 [B, K]."""
        rows_B = torch.arange(len(hidden_BLD), device=hidden_BLD.device)
        return self.plain.score(hidden_BLD[rows_B, last_B]).float()
