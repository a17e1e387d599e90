"""Soft labels: our pass against the published way.  Same weights, same records, same machine, in turns.

    python tests/bench/soft_labels.py [--rows 16] [--rounds 3]

A Qwen2 of hidden size 256, 4 layers and the real vocabulary of 152,064; records of about 640 tokens that share an
instruction of 190.  In the loop: the clock covers token ids to numbers, nothing else.
"""

import argparse
from copy import copy

import numpy as np
import torch
from machine import describe, has_amx, ratio, take_turns
from published import label
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2ForSequenceClassification

from ckd_dist.models.predict import predict_logits
from ckd_dist.models.wrapper import Wrapper

NUM_LABELS, SHARED, MEAN, SPREAD = 25, 190, 640, 120


class Records:
    """Random token ids with a shared start, lengths as records have them."""

    def __init__(self, num_rows: int, vocabulary: int) -> None:
        random = np.random.default_rng(0)
        shared = random.integers(10, vocabulary, SHARED)
        self.lengths = random.normal(MEAN, SPREAD, num_rows).clip(SHARED + 20, 1024).astype(int)
        self.rows = [np.concatenate([shared, random.integers(10, vocabulary, n - SHARED)]) for n in self.lengths]

    def row(self, i: int) -> np.ndarray:
        return self.rows[i]


def with_stranger(records: Records) -> Records:
    """Return the same records and a last one that shares nothing with them, so that every record is read whole."""
    more = copy(records)
    more.rows = [*records.rows, np.array([0, 1])]
    more.lengths = np.append(records.lengths, 2)
    return more


def models(dtype: torch.dtype) -> tuple[Qwen2ForCausalLM, torch.nn.Linear, Wrapper]:
    """The causal language model with the published head beside it, and our classifier with the same weights."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=152_064,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_labels=NUM_LABELS,
        pad_token_id=0,
    )
    causal = Qwen2ForCausalLM(config).to(dtype).eval()
    classifier = Qwen2ForSequenceClassification(config).to(dtype).eval()
    classifier.model.load_state_dict(causal.model.state_dict())
    linear = torch.nn.Linear(config.hidden_size, NUM_LABELS, bias=False).to(dtype)
    linear.weight.data.copy_(classifier.score.weight.data)
    return causal, linear, Wrapper(classifier, "decoder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(describe(), "" if has_amx() else "| no AMX here: the bf16 target (12 x) is stated for CPUs that have it")
    for dtype in (torch.float32, torch.bfloat16):
        causal, linear, model = models(dtype)
        records = Records(args.rows, 152_064)
        whole = with_stranger(records)

        def ours(records: Records, model: Wrapper = model) -> np.ndarray:
            return predict_logits(model, records, np.arange(len(records.rows)), micro_tokens=4096, pad_id=0)

        programs = {
            "published": lambda c=causal, h=linear, r=records: label(c, h, r.rows, collect=True),
            "published, no collection": lambda c=causal, h=linear, r=records: label(c, h, r.rows, collect=False),
            "ours, no shared instruction": lambda r=whole: ours(r),
            "ours": lambda r=records: ours(r),
        }
        gap = np.abs(programs["published"]() - 1 / (1 + np.exp(-programs["ours"]()))).max()
        seconds = take_turns(programs, args.rounds)
        print(f"\n{dtype}, {args.rows} records of {records.lengths.mean():.0f} tokens, largest difference {gap:.1e}")
        for name, each in seconds.items():
            print(f"  {name:<38} {np.median(each) / args.rows * 1000:8.1f} ms a record")
        print(f"  published / ours                       {ratio(seconds['published'], seconds['ours'])}")
        print(f"  the same without garbage collection    {ratio(seconds['published, no collection'], seconds['ours'])}")


if __name__ == "__main__":
    main()
