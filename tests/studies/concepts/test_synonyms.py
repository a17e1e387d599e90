"""Tiny models learn which phrases mean the same, to the same bytes; and what the synthetic thesaurus knows."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn.functional import cosine_similarity

from ckd_dist.config import Tiny
from ckd_dist.models.embed import EmbedderOptions, load_embedder
from ckd_dist.models.tiny import make_tiny_student
from ckd_dist.studies.concepts.cases.cases import read_concepts
from ckd_dist.studies.concepts.cases.table import CASES, CONCEPTS
from ckd_dist.studies.concepts.config import Embeddings, TextModel
from ckd_dist.studies.concepts.embed import make_tiny_bases
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.synonyms import teach_synonyms
from ckd_dist.studies.concepts.synthetic import thesaurus
from ckd_dist.studies.concepts.synthetic.findings import ALL, FINDINGS, OPAQUE
from tests.studies.concepts.small import SMALL, TEACHER, fork


def test_a_tiny_model_learns_which_phrases_mean_the_same_to_the_same_bytes(tmp_path):
    pairs = [("fever", "high temperature"), ("breathless", "short of air"), ("cough", "tussis"), ("rash", "red spots")]
    words = sorted({phrase for pair in pairs for phrase in pair})

    def likeness(folder) -> np.ndarray:
        embedder = load_embedder(folder, EmbedderOptions(pooling="mean"))
        one, two = (embedder.embed([pair[side] for pair in pairs], micro_tokens=500) for side in (0, 1))
        return cosine_similarity(torch.tensor(one)[:, None], torch.tensor(two)[None], dim=2).numpy()

    folders = [tmp_path / name for name in ("plain", "taught", "again")]
    losses = []
    for folder, epochs in zip(folders, (0, 15, 15), strict=True):
        make_tiny_student(folder, (), Tiny(hidden=32, layers=1, heads=2, vocabulary=300), seed=0, public=words)
        if epochs:
            torch.manual_seed(len(losses))
            losses.append(teach_synonyms(folder, pairs, "mean", epochs, seed=0))
    before, after = likeness(folders[0]), likeness(folders[1])
    assert (after.argmax(1) == np.arange(4)).all() and np.diag(after).mean() > np.diag(before).mean()
    assert losses[0] == losses[1] < 1
    files = [sorted((path.name, path.read_bytes()) for path in folder.iterdir()) for folder in folders[1:]]
    assert files[0] == files[1]


def test_a_taught_tiny_model_is_made_twice_to_the_same_bytes(run, tmp_path):
    """A stage that was killed makes it again, and the shards that are there must still be its own."""
    listed = tmp_path / "synonyms.csv"
    listed.write_text("fever,high temperature\ncough,tussis\n")
    embed = replace(SMALL.embed, models=(replace(SMALL.embed.models[0], synonyms=str(listed)),))
    found = []
    for _ in range(2):
        other = fork(run, tmp_path / str(len(found)))
        make_tiny_bases(other, embed)
        found.append({path.name: path.read_bytes() for path in other.base(TEACHER).iterdir()})
    assert found[0] == found[1]
    assert found[0]["model.safetensors"] != (run.base(TEACHER) / "model.safetensors").read_bytes()


def test_the_thesaurus_knows_every_word_of_the_departments_but_their_local_codes(run):
    concepts = read_concepts(run)
    local = {("Not " * absent) + name for f in FINDINGS[OPAQUE] for name in f.names for absent in (0, 1)}
    known = set(thesaurus.phrases())
    assert set(concepts["text"]) - known <= local
    assert not known & local
    names = {finding.names for finding in ALL}
    for one, two in thesaurus.synonyms():
        assert one.startswith("Not ") == two.startswith("Not ")
        assert (one.removeprefix("Not "), two.removeprefix("Not ")) in names


@pytest.mark.parametrize(("base", "pooling"), [("tiny", "own"), ("tiny_encoder", "own"), ("tiny_encoder", "cls")])
def test_synonyms_are_learned_as_they_will_be_read(tmp_path, base, pooling):
    run, small = ConceptsRun(tmp_path), Tiny(hidden=16, layers=1, heads=2, vocabulary=400)
    run.concepts.parent.mkdir()
    rows = [(0, "finding", "fever", "F1", False)]
    pl.DataFrame(rows, schema=CONCEPTS, orient="row").write_parquet(run.concepts)
    pl.DataFrame(schema=CASES).write_parquet(run.cases)
    model = TextModel(name="m", base=base, pooling=pooling, synonyms="synthetic", tiny=small)
    make_tiny_bases(run, Embeddings(models=(model,)))
    north, south = zip(*thesaurus.synonyms(), strict=True)
    embedder = load_embedder(run.base("m"), EmbedderOptions(pooling=pooling))
    own, other = (torch.from_numpy(embedder.embed(side, micro_tokens=512)) for side in (north, south))
    alike = cosine_similarity(own[:, None], other[None], dim=2)
    assert alike.diagonal().mean() > alike.mean() + 0.3
