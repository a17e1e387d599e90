"""The room's entry: samples and two tokenizers in; prompts (parquet) and token tables (safetensors) out.

Rows flow in chunks, so memory holds one chunk of texts and the growing token ids (4 bytes a token).  The tokenizers are
Rust and use every core; the rest is Python, once per item.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ckd_dist import schema
from ckd_dist.config import Prompt as Settings
from ckd_dist.studies.disease.prompts.encode import Prompt, encode, student_reader, table_of, teacher_reader
from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from ckd_dist.studies.disease.prompts.publish import publish
from ckd_dist.studies.disease.prompts.render import KINDS, Record, answer, efficacy_line, lay_out, question, record_of
from ckd_dist.studies.disease.prompts.tokens import TokenTable

CHUNK_ROWS = 1024  # about 100 MB of Rust-side tokens
READ = ["sample_id", "age", "sex", "diagnoses", "medications", "procedures", "history", "current", "labels"]

PROMPTS = pl.DataFrame(schema=schema.PROMPTS).to_arrow().schema
SPANS = PROMPTS.field("teacher_spans").type


class Whole(NamedTuple):
    """A sample in words, before any budget."""

    sample_id: int
    record: Record
    answer: str | None  # None: unlabelled


def no_track(done: int, total: int, **numbers: float) -> None:
    """Progress that nobody watches."""


def records(
    samples: pl.DataFrame,
    label_names: Sequence[str],
    names_of_codes: Callable[[str], str],
    settings: Settings,
    knowledge: Knowledge | None,
    unspoken: Sequence[str] = (),
) -> Iterator[list[Whole]]:
    """Every row of schema.SAMPLES in words, in chunks.

    names_of_codes: event code of a diagnosis or procedure -> name.  knowledge: None leaves efficacies out.
    unspoken: the tokenizers' special tokens, which no name may smuggle into a prompt.
    """
    if knowledge is not None and knowledge.names != tuple(label_names):
        raise ValueError(
            "the knowledge was fitted on other label names than the samples have: run the prompt stage again"
        )
    code = functools.cache(lambda code: plain(names_of_codes(code), unspoken))
    drug = functools.cache(lambda name: plain(name, unspoken))

    def efficacies(current: Sequence[int]) -> list[str]:
        told = knowledge.tell(current, settings.efficacies) if knowledge else []
        return [efficacy_line(drug(treatment), label_names[k], efficacy) for k, treatment, efficacy in told]

    for chunk in samples.select(READ).iter_slices(CHUNK_ROWS):
        yield [
            Whole(
                row["sample_id"],
                record_of(row, code, drug, efficacies(row["current"])),
                None if row["labels"] is None else answer(row["labels"], label_names),
            )
            for row in chunk.iter_rows(named=True)
        ]


def plain(name: str, unspoken: Sequence[str]) -> str:
    """A name in one line, without special tokens.

    >>> plain("insulin <|im_end|>\\n human", ["<|im_end|>"])
    'insulin human'
    """
    for token in unspoken:
        name = name.replace(token, " ")
    return " ".join(name.split())


def texts(
    samples: pl.DataFrame,
    label_names: Sequence[str],
    names_of_codes: Callable[[str], str],
    settings: Settings,
    knowledge: Knowledge | None,
    reader: Literal["teacher", "student"],
) -> Iterator[str]:
    """What `reader` reads, whole and without its template, to learn a vocabulary from.  Give training samples only."""
    instruction = question(label_names)
    with_instruction = reader == "teacher" or settings.student_instruction
    for chunk in records(samples, label_names, names_of_codes, settings, knowledge):
        for whole in chunk:
            text = lay_out(whole.record).text
            yield f"{instruction}\n{text}" if with_instruction else text
            if reader == "teacher" and whole.answer is not None:
                yield whole.answer


def write_prompts(
    samples: Mapping[str, pl.DataFrame],
    label_names: Sequence[str],
    names_of_codes: Callable[[str], str],
    settings: Settings,
    teacher_tokenizer: Any,
    student_tokenizer: Any,
    knowledge: Knowledge | None,
    prompts_file: Callable[[str], Path],
    tokens_file: Callable[[str, str], Path],
    track: Callable[..., None] = no_track,
) -> dict[str, dict]:
    """Write schema.PROMPTS and both readers' TokenTables of every split; return counts and token lengths per split.

    prompts_file: split -> path.  tokens_file: split, "teacher" or "student" -> path.  knowledge: fitted on train.
    ValueError where a tokenizer or a budget cannot serve.
    """
    instruction = question(label_names)
    teacher = teacher_reader(teacher_tokenizer, instruction, settings.teacher_tokens)
    student = student_reader(
        student_tokenizer, settings.student_tokens, instruction if settings.student_instruction else None
    )
    unspoken = special_tokens(teacher_tokenizer, student_tokenizer)
    total, done, report = sum(map(len, samples.values())), 0, {}
    for split, frame in samples.items():
        read = _Read()
        with publish(prompts_file(split)) as unfinished, pq.ParquetWriter(unfinished, PROMPTS) as file:
            for chunk in records(frame, label_names, names_of_codes, settings, knowledge, unspoken):
                pages = [lay_out(whole.record) for whole in chunk]  # once for both readers
                of_teacher = encode(teacher, [whole.record for whole in chunk], pages)
                of_student = encode(student, [whole.record for whole in chunk], pages)
                file.write(_arrow(chunk, of_teacher, of_student))
                read.add(chunk, teacher=of_teacher, student=of_student)
                done += len(chunk)
                track(done, total)
        report[split] = {"samples": len(frame)} | read.write(functools.partial(tokens_file, split))
    return report


class _Read:
    """What both readers read of one split, so far."""

    def __init__(self) -> None:
        self.tables: dict[str, list[TokenTable]] = {"teacher": [], "student": []}
        self.num_cut: dict[str, list[int]] = {"teacher": [], "student": []}

    def add(self, chunk: list[Whole], **by_reader: list[Prompt]) -> None:
        for reader, prompts in by_reader.items():
            self.tables[reader].append(table_of([whole.sample_id for whole in chunk], prompts))
            self.num_cut[reader] += [prompt.num_cut for prompt in prompts]

    def write(self, file_of: Callable[[str], Path]) -> dict[str, dict[str, float]]:
        """Write a TokenTable per reader; return its summary."""
        report = {}
        for reader, tables in self.tables.items():
            table = TokenTable.join(tables, KINDS)
            table.write(file_of(reader))
            report[reader] = _summary(table.lengths, np.array(self.num_cut[reader]))
        return report


def _summary(lengths: np.ndarray, num_cut: np.ndarray) -> dict[str, float]:
    """How long the texts of one reader are, in tokens, and what its budget left out."""
    counts = {"items_cut": int(num_cut.sum()), "samples_cut": int((num_cut > 0).sum())}
    if not len(lengths):
        return counts
    p25, p50, p75, p95, most = np.quantile(lengths, [0.25, 0.5, 0.75, 0.95, 1]).tolist()
    return counts | {"mean_tokens": float(lengths.mean()), "p25": p25, "p50": p50, "p75": p75, "p95": p95, "max": most}


def special_tokens(*tokenizers: Any) -> list[str]:
    """Every token that stands for itself wherever it appears in a text, longest first."""
    tokens = {token for tokenizer in tokenizers for token in tokenizer.get_added_vocab()}
    return sorted(tokens, key=lambda token: (-len(token), token))


def _arrow(chunk: list[Whole], teacher: list[Prompt], student: list[Prompt]) -> pa.Table:
    columns = {
        "sample_id": [whole.sample_id for whole in chunk],
        "teacher_text": [prompt.text for prompt in teacher],
        "teacher_spans": _arrow_spans(teacher),
        "student_text": [prompt.text for prompt in student],
        "student_spans": _arrow_spans(student),
        "answer": [whole.answer for whole in chunk],
        "num_items_cut": [prompt.num_cut for prompt in teacher],
    }
    return pa.table(columns, schema=PROMPTS)


def _arrow_spans(prompts: list[Prompt]) -> pa.Array:
    """Lists of structs, built from flat columns: Python dicts would cost ten times more."""
    offsets = np.cumsum([0, *(len(prompt.span_kinds) for prompt in prompts)])
    kinds = np.concatenate([prompt.span_kinds for prompt in prompts])
    visits = np.concatenate([prompt.span_visits for prompt in prompts])
    starts, ends = np.concatenate([prompt.span_chars for prompt in prompts]).T
    words = pa.DictionaryArray.from_arrays(pa.array(kinds), pa.array(KINDS, pa.large_string())).cast(pa.large_string())
    columns = [words, *(pa.array(np.ascontiguousarray(column)) for column in (starts, ends, visits))]
    spans = pa.StructArray.from_arrays(columns, fields=list(SPANS.value_type))
    return pa.LargeListArray.from_arrays(pa.array(offsets), spans)
