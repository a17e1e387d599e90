"""Write samples as text and tokens for one role: prompts (parquet) and token tables (safetensors).

Rows flow in chunks, so memory holds one chunk of texts and the growing token ids (4 bytes a token).  The tokenizers are
Rust and use every core; the rest is Python, once per item.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ckd_dist.files import replacing
from ckd_dist.studies.disease.others import rows_of_others
from ckd_dist.studies.disease.prompts.encode import (
    EncodedPrompt,
    PromptRole,
    encode,
    student_role,
    table_of,
    teacher_role,
)
from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from ckd_dist.studies.disease.prompts.render import KINDS, Record, answer, efficacy_line, lay_out, question, record_of
from ckd_dist.studies.disease.prompts.table import PROMPTS
from ckd_dist.studies.disease.prompts.teacher_only import with_parts_of, without
from ckd_dist.studies.disease.prompts.tokens import TokenTable
from ckd_dist.study import no_op

CHUNK_ROWS = 1024  # about 100 MB of Rust-side tokens
SAMPLE_COLUMNS = ["sample_id", "age", "sex", "diagnoses", "medications", "procedures", "history", "current", "labels"]

ARROW = pl.DataFrame(schema=PROMPTS).to_arrow().schema
SPANS = ARROW.field("spans").type


Role = Literal["teacher", "student"]


class RenderedSample(NamedTuple):
    """A sample as a record, before any budget."""

    sample_id: int
    record: Record
    answer: str | None  # None: unlabelled


@dataclass(frozen=True)
class PromptOptions:
    """What of a record is written, and how much of it is read."""

    efficacies: int  # most treatments listed for each current disease; 0: none
    teacher_tokens: int
    student_tokens: int
    student_instruction: bool
    question: str = "names"  # form of the instruction: render.question
    teacher_only: Sequence[str] = ()  # parts that the student's text lacks
    teacher_permuted: bool = False  # whether the teacher reads another subject's in place of these parts

    def lists_efficacies(self, role: Role) -> bool:
        """Say whether a role's texts list treatments."""
        return self.efficacies > 0 and (role == "teacher" or "efficacies" not in self.teacher_only)


@dataclass(frozen=True)
class Rendering:
    """How samples become records.  left_out: parts that are not written.  of_another: another subject's are."""

    label_names: Sequence[str]
    name_of: Callable[[str], str]  # event code of a diagnosis or procedure -> name
    options: PromptOptions
    knowledge: Knowledge | None = None  # None leaves efficacies out
    left_out: Sequence[str] = ()
    of_another: Sequence[str] = ()
    history_visits: int | None = None  # most earlier visits that are written; None: all that the samples have

    def __post_init__(self) -> None:
        """Raise ValueError where the knowledge is of other labels, or no part is named that could be another's."""
        if self.options.teacher_permuted and not self.options.teacher_only:
            raise ValueError("prompt.teacher_permuted permutes the parts of prompt.teacher_only, which names none")
        if self.knowledge is not None and self.knowledge.names != tuple(self.label_names):
            raise ValueError(
                "the knowledge was fitted on other label names than the samples have: run prompt_teacher again"
            )

    @property
    def instruction(self) -> str:
        """The question that precedes a record."""
        return question(self.label_names, self.options.question)

    def shareable(self) -> "Rendering":
        """Return how samples become what may leave with a model: no treatment of a few, a subject's own parts."""
        knowledge = self.knowledge and self.knowledge.shareable(self.options.efficacies)
        return replace(self, knowledge=knowledge, of_another=())

    def role(self, role: Role, tokenizer: Any) -> PromptRole:
        """Return how `role` reads a record.  Raise ValueError where its tokenizer or its budget cannot serve."""
        if role == "teacher":
            return teacher_role(tokenizer, self.instruction, self.options.teacher_tokens)
        instruction = self.instruction if self.options.student_instruction else None
        return student_role(tokenizer, self.options.student_tokens, instruction)


def render_samples(
    samples: pl.DataFrame, rendering: Rendering, special: Sequence[str] = ()
) -> Iterator[list[RenderedSample]]:
    """Yield every row of schema.SAMPLES as a record, in chunks.

    special: the tokenizer's special tokens, which are removed from names.
    """
    names, knowledge = rendering.label_names, rendering.knowledge
    code = functools.cache(lambda code: one_line(rendering.name_of(code), special))
    drug = functools.cache(lambda name: one_line(name, special))

    def efficacies(current: Sequence[int]) -> list[str]:
        best = knowledge.best_treatments(current, rendering.options.efficacies) if knowledge else []
        return [efficacy_line(drug(treatment), names[k], efficacy) for k, treatment, efficacy in best]

    def written(row: Mapping[str, Any]) -> Record:
        return without(record_of(row, code, drug, efficacies(row["current"])), rendering.left_out)

    rows = samples.select(SAMPLE_COLUMNS)
    if rendering.history_visits is not None:
        rows = rows.with_columns(pl.col("history").list.head(rendering.history_visits))  # newest first
    donors = rows
    if rendering.of_another:
        donors = rows[rows_of_others(samples["subject_id"].to_numpy(), 0, "prompt.teacher_permuted")]
    for chunk, theirs in zip(rows.iter_slices(CHUNK_ROWS), donors.iter_slices(CHUNK_ROWS), strict=True):
        records = [written(row) for row in chunk.iter_rows(named=True)]
        if rendering.of_another:
            given = (written(row) for row in theirs.iter_rows(named=True))
            records = [with_parts_of(*pair, rendering.of_another) for pair in zip(records, given, strict=True)]
        answers = (None if labels is None else answer(labels, names) for labels in chunk["labels"].to_list())
        yield list(map(RenderedSample, chunk["sample_id"].to_list(), records, answers))


def one_line(name: str, special: Sequence[str]) -> str:
    """Return a name in one line, without special tokens.

    >>> one_line("insulin <|im_end|>\\n human", ["<|im_end|>"])
    'insulin human'
    """
    for token in special:
        name = name.replace(token, " ")
    return " ".join(name.split())


def texts_of(samples: pl.DataFrame, rendering: Rendering, role: Role) -> Iterator[str]:
    """Yield all that `role` reads of a subject, without its template, for a vocabulary.  Give training samples only.

    Give a rendering with shareable knowledge: a drug of two subjects would stand in the texts of all with the disease.
    """
    with_instruction = role == "teacher" or rendering.options.student_instruction
    samples = samples.sort("subject_id", maintain_order=True)
    rendered = chain.from_iterable(render_samples(samples, rendering))
    for _, own in groupby(zip(samples["subject_id"], rendered, strict=True), key=itemgetter(0)):
        texts = [rendering.instruction] if with_instruction else []
        for _, sample in own:
            texts.append(lay_out(sample.record).text)
            if role == "teacher" and sample.answer is not None:
                texts.append(sample.answer)
        yield "\n".join(texts)


def write_prompts(
    samples: Mapping[str, pl.DataFrame],
    rendering: Rendering,
    role: Role,
    tokenizer: Any,
    files_of: Callable[[str], tuple[Path, Path]],
    track: Callable[..., None] = no_op,
) -> dict[str, dict]:
    """Write a role's PROMPTS and TokenTable of every split; return counts and token lengths per split.

    files_of: split -> paths of both.  Raises ValueError where the tokenizer or the budget cannot serve.
    """
    encoding, special = rendering.role(role, tokenizer), special_tokens(tokenizer)
    total, done, report = sum(map(len, samples.values())), 0, {}
    for split, frame in samples.items():
        prompts_file, tokens_file = files_of(split)
        tables, num_cut = [], []
        with replacing(prompts_file) as temporary, pq.ParquetWriter(temporary, ARROW) as file:
            for chunk in render_samples(frame, rendering, special):
                prompts = encode(encoding, [sample.record for sample in chunk])
                file.write(_arrow(chunk, prompts, role))
                tables.append(table_of([sample.sample_id for sample in chunk], prompts))
                num_cut += [prompt.num_cut for prompt in prompts]
                done += len(chunk)
                track(done, total)
        table = TokenTable.join(tables, KINDS)
        table.write(tokens_file)
        report[split] = {"samples": len(frame)} | _length_stats(table.lengths, np.array(num_cut))
    return report


def _length_stats(lengths: np.ndarray, num_cut: np.ndarray) -> dict[str, float]:
    """Return how long the texts of a role are, in tokens, and what its budget left out."""
    counts = {"items_cut": int(num_cut.sum()), "samples_cut": int((num_cut > 0).sum())}
    if not len(lengths):
        return counts
    p25, p50, p75, p95, most = np.quantile(lengths, [0.25, 0.5, 0.75, 0.95, 1]).tolist()
    return counts | {"mean_tokens": float(lengths.mean()), "p25": p25, "p50": p50, "p75": p75, "p95": p95, "max": most}


def special_tokens(tokenizer: Any) -> list[str]:
    """List the tokens that a tokenizer never splits, wherever they appear in a text, longest first."""
    return sorted(tokenizer.get_added_vocab(), key=lambda token: (-len(token), token))


def _arrow(chunk: list[RenderedSample], prompts: list[EncodedPrompt], role: Role) -> pa.Table:
    """Return a chunk of PROMPTS."""
    columns = {
        "sample_id": [sample.sample_id for sample in chunk],
        "text": [prompt.text for prompt in prompts],
        "spans": _arrow_spans(prompts),
        "answer": [sample.answer if role == "teacher" else None for sample in chunk],
        "num_items_cut": [prompt.num_cut for prompt in prompts],
    }
    return pa.table(columns, schema=ARROW)


def _arrow_spans(prompts: list[EncodedPrompt]) -> pa.Array:
    """Return lists of structs, built from flat columns: Python dicts would cost ten times more."""
    offsets = np.cumsum([0, *(len(prompt.span_kinds) for prompt in prompts)])
    kinds = np.concatenate([prompt.span_kinds for prompt in prompts])
    visits = np.concatenate([prompt.span_visits for prompt in prompts])
    starts, ends = np.concatenate([prompt.span_chars for prompt in prompts]).T
    names = pa.DictionaryArray.from_arrays(pa.array(kinds), pa.array(KINDS, pa.large_string())).cast(pa.large_string())
    columns = [names, *(pa.array(np.ascontiguousarray(column)) for column in (starts, ends, visits))]
    spans = pa.StructArray.from_arrays(columns, fields=list(SPANS.value_type))
    return pa.LargeListArray.from_arrays(pa.array(offsets), spans)
