import pytest

from ckd_dist.studies.disease.prompts.render import question
from tests.studies.disease.prompts.samples import LABELS, MEDICATIONS, NAMES, byte_level_bpe, word_piece


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    return [question(LABELS), "The patient had used the following medication: ", *NAMES.values(), *MEDICATIONS]


@pytest.fixture(scope="session")
def teacher_tokenizer(corpus):
    return byte_level_bpe(corpus)


@pytest.fixture(scope="session")
def student_tokenizer(corpus):
    return word_piece(corpus)
