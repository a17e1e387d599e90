"""Counts and scores of mentions against nervaluate, seqeval and hand-worked notes; draws against repeated notes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate import Evaluator
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from ckd_dist.notes.note import Mention, Note, best_tags, decode, tag_names
from ckd_dist.report.bootstrap import Resamples, resample
from ckd_dist.studies.ner.report.entities import CLASSES, MEASURES, SCHEMAS, count, scores

TYPES = ["disease", "medication", "symptom"]


def all_notes(num_notes: int) -> Resamples:
    """No draws: the sample as it is."""
    return resample(np.arange(num_notes), 0, seed=0)


def measured(gold, found, schema="strict", group="micro", types=TYPES) -> list[float]:
    estimates = scores(count(gold, found, types), all_notes(len(gold)))
    return [estimates.estimate(schema, group, measure).value for measure in MEASURES]


# 0              15      23             39   44
# chest pain and chronic kidney disease, gout today
GOLD = [Mention(0, 10, "symptom"), Mention(15, 37, "disease"), Mention(39, 43, "disease")]
FOUND = [
    Mention(0, 10, "symptom"),  # right
    Mention(23, 37, "disease"),  # kidney disease, without chronic
    Mention(39, 43, "symptom"),  # gout, a wrong type
    Mention(44, 49, "disease"),  # today, nothing
]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [  # correct, incorrect, partial, missed, spurious
        ("strict", [1, 2, 0, 0, 1]),
        ("exact", [2, 1, 0, 0, 1]),
        ("partial", [2, 0, 1, 0, 1]),
        ("ent_type", [2, 1, 0, 0, 1]),
    ],
)
def test_a_note_by_hand(schema, expected):
    counts = count([GOLD], [FOUND], TYPES)
    assert counts.counts_NGSC[0, -1, SCHEMAS.index(schema)].tolist() == expected
    correct, _, partial, _, _ = expected
    credit = correct + partial / 2
    assert measured([GOLD], [FOUND], schema) == pytest.approx([credit / 4, credit / 3, 2 * credit / 7])


def test_a_note_by_hand_type_by_type():
    """Disease: half a chronic kidney disease, gout missed, today invented.  Symptom: chest pain, and gout invented."""
    strict_GC = count([GOLD], [FOUND], TYPES).counts_NGSC[0, :, 0]
    assert strict_GC[TYPES.index("disease")].tolist() == [0, 1, 0, 1, 1]
    assert strict_GC[TYPES.index("symptom")].tolist() == [1, 0, 0, 0, 1]
    assert strict_GC[TYPES.index("medication")].tolist() == [0] * len(CLASSES)
    assert measured([GOLD], [FOUND], group="symptom") == pytest.approx([1 / 2, 1, 2 / 3])
    assert np.isnan(measured([GOLD], [FOUND], group="medication")).all()
    # macro: of disease 0 and symptom 2/3; nobody takes a medication
    assert measured([GOLD], [FOUND], group="macro")[2] == pytest.approx(1 / 3)


def test_gold_that_overlaps_and_gold_of_two_types_in_one_place():
    gold = [Mention(0, 10, "disease"), Mention(0, 10, "symptom"), Mention(0, 30, "disease"), Mention(20, 30, "symptom")]
    found = [Mention(0, 10, "symptom"), Mention(20, 30, "symptom")]
    assert measured([gold], [found]) == pytest.approx([1, 2 / 4, 2 / 3])


def test_empty_notes_count_nothing_and_one_side_empty_is_missed_or_spurious():
    counts = count([[], GOLD, []], [[], [], FOUND], TYPES).counts_NGSC
    assert not counts[0].any()
    assert counts[1, -1, :, CLASSES.index("missed")].tolist() == [3] * 4 == counts[1, -1].sum(1).tolist()
    assert counts[2, -1, :, CLASSES.index("spurious")].tolist() == [4] * 4 == counts[2, -1].sum(1).tolist()
    assert np.isnan(measured([[]], [[]])).all()
    assert measured([GOLD], [[]]) == [0, 0, 0]
    assert count([], [], TYPES).counts_NGSC.shape == (0, 4, 4, 5)


spans = st.tuples(st.integers(0, 40), st.integers(1, 12), st.sampled_from([*TYPES, "gene"]))


def apart(mentions):
    """Those that do not overlap an earlier one."""
    kept: list[Mention] = []
    for mention in sorted(mentions):
        if not kept or mention.start >= kept[-1].end:
            kept.append(mention)
    return kept


notes = st.lists(spans, max_size=12).map(lambda of_note: sorted({Mention(s, s + n, kind) for s, n, kind in of_note}))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(notes, notes.map(apart)), min_size=1, max_size=4))
def test_counts_are_nervaluates(pairs):
    """Gold may overlap; a mention longer than 100 characters makes one character less than nervaluate's 1 % overlap."""
    long = Mention(50, 250, "disease"), Mention(249, 260, "disease")
    gold, found = [[*g, long[0]] for g, _ in pairs], [[*f, long[1]] for _, f in pairs]
    counts_GSC = count(gold, found, TYPES).counts_NGSC.sum(0)
    theirs = Evaluator(
        *(
            [[{"label": m.type, "start": m.start, "end": m.end - 1} for m in note] for note in side]
            for side in (gold, found)
        ),
        tags=TYPES,
        loader="dict",
    ).evaluate()
    for s, schema in enumerate(SCHEMAS):
        expected = {"micro": theirs["overall"][schema]} | {k: v[schema] for k, v in theirs["entities"].items()}
        for g, group in enumerate([*TYPES, "micro"]):
            if group not in expected:
                assert not counts_GSC[g, s].any()
                continue
            assert counts_GSC[g, s].tolist() == [getattr(expected[group], name) for name in CLASSES]
            if counts_GSC[g, s, :4].any():  # there is gold
                wanted = [getattr(expected[group], name) for name in MEASURES]
                assert measured(gold, found, schema, group) == pytest.approx(wanted)


tags = st.integers(0, 2 * len(TYPES))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=15), min_size=1, max_size=4), st.booleans())
def test_strict_scores_are_seqevals(pairs, repaired):
    """Over tags of words: any at all in its plain mode; those in which an I follows its like in its strict mode."""
    names, columns = tag_names(TYPES), 1 + 2 * len(TYPES)
    mentions, written = ([], []), ([], [])
    for pair in pairs:
        start_U = 5 * np.arange(len(pair), dtype=np.int32)
        note = Note("", start_U, start_U + 4, np.zeros(len(pair), np.int32))
        for side in (0, 1):
            tags_U = np.array([both[side] for both in pair])
            if repaired:
                tags_U = best_tags(np.log(0.01 + np.eye(columns)[tags_U]))
            mentions[side].append(decode(note, tags_U, TYPES))
            written[side].append([names[tag] for tag in tags_U])
    if not any(mentions[0]):
        return
    options = {"mode": "strict", "scheme": IOB2} if repaired else {}
    theirs = [
        score(*written, average="micro", zero_division=0, **options)
        for score in (precision_score, recall_score, f1_score)
    ]
    assert measured(*mentions) == pytest.approx(theirs)
    by_type = f1_score(*written, average=None, zero_division=0, **options)
    seen = sorted({mention.type for side in mentions for note in side for mention in note})
    in_gold = {mention.type for note in mentions[0] for mention in note}
    for kind, theirs_of_type in zip(seen, by_type, strict=True):
        if kind in in_gold:
            assert measured(*mentions, group=kind)[2] == pytest.approx(theirs_of_type)


def synthetic_mentions(seed: int, num_notes: int):
    """Gold and two systems' mentions of notes; type `medication` is rare."""
    random = np.random.default_rng(seed)
    gold, systems = [], ([], [])
    for row in range(num_notes):
        kinds = random.choice(["disease", "symptom"], size=5).tolist() + ["medication"] * (row == 0)
        gold.append([Mention(20 * i, 20 * i + 8, kind) for i, kind in enumerate(kinds)])
        for system, share in zip(systems, (0.8, 0.5), strict=True):
            system.append(
                [m._replace(end=m.end - int(random.integers(2))) for m in gold[-1] if random.random() < share]
            )
    return gold, systems


def test_a_draw_scores_what_its_notes_repeated_would():
    """Twelve subjects of one to three notes: a subject drawn twice counts all of its notes twice."""
    gold, (found, _) = synthetic_mentions(seed=0, num_notes=24)
    subject_N = np.array([i % 12 for i in range(18)] + [0] * 6)
    resamples = resample(subject_N, 5, seed=1)
    estimates = scores(count(gold, found, TYPES), resamples)
    for draw in range(6):
        times_N = resamples.counts_SD[resamples.subject_N, draw].astype(int)
        rows = np.repeat(np.arange(24), times_N)
        drawn = scores(count([gold[i] for i in rows], [found[i] for i in rows], TYPES), all_notes(len(rows)))
        assert np.allclose(estimates.value_SGMD[..., draw], drawn.value_SGMD[..., 0], equal_nan=True)
    # a draw without the one note with a medication has no such score, and a macro mean without it
    without = resamples.counts_SD[0] == 0
    assert without.any()
    assert np.array_equal(np.isnan(estimates.draws("strict", "medication", "f1")), without)
    assert not np.isnan(estimates.draws("strict", "macro", "f1")).any()


def test_systems_are_compared_on_the_same_draws():
    gold, (better, worse) = synthetic_mentions(seed=2, num_notes=40)
    resamples = resample(np.arange(40), 200, seed=0)
    first, second = (scores(count(gold, found, TYPES), resamples) for found in (better, worse))
    ahead = first.minus(second, schema="partial")
    assert ahead.value == pytest.approx(first.estimate("partial").value - second.estimate("partial").value)
    assert ahead.low > 0
    itself = first.minus(first)
    assert (itself.value, itself.low, itself.high) == (0, 0, 0)
    alone = first.estimate()
    assert alone.low < alone.value < alone.high


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="gold mentions of 2 notes, found ones of 1"):
        count([GOLD, GOLD], [FOUND], TYPES)
    with pytest.raises(ValueError, match="found mentions of a note overlap"):
        count([GOLD], [[Mention(0, 10, "disease"), Mention(9, 12, "symptom")]], TYPES)
    with pytest.raises(ValueError, match="draws of 2 notes for counts of 1"):
        scores(count([GOLD], [FOUND], TYPES), all_notes(2))
