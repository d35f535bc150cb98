# Names, variables and exit codes of these targets are a contract (deploy/docs/commands.md).
# make itself exits with 2 whenever a recipe fails; the recipe's own code stands in its last line ("Error 3").

PYTHON ?= python3
VENV   ?= .venv
SEED   ?= 0
N      ?= 20
DATA   ?=
FIXTURES ?= tests/fixtures/medreco_parity
BUNDLE ?= models/bundles/interval-cxr-small

RUN    = $(VENV)/bin/python
TRAIN  = $(VENV)-train/bin/python
export PYTHONPATH := $(CURDIR)
export HOLOSCAN_LOG_LEVEL ?= ERROR

.PHONY: help demo test check run bench chaos train evaluate parity setup setup-dev setup-train peers peers-of-demo format clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/.serving ## install what serving needs into .venv
setup-dev: $(VENV)/.dev
setup-train: $(VENV)-train/.installed ## install what training and its tests need (torch) into .venv-train

$(VENV)/.serving: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/.serving

$(VENV)-train/.installed: requirements-train.txt
	$(PYTHON) -m venv $(VENV)-train
	$(VENV)-train/bin/python -m pip install -q --disable-pip-version-check -r requirements-train.txt
	touch $@

peers: ## install the real peers of demo and tests (Orthanc, dcmtk, ...) from the distribution
	@sh deploy/setup/peers.sh

peers-of-demo: # what demo, bench and chaos need of them
	@sh deploy/setup/peers.sh orthanc orthanc-dicomweb dcmtk poppler-utils

demo: peers-of-demo $(VENV)/.dev ## the main job on real images against a real PACS, database and RIS
	$(RUN) -m deploy.demo --out $(or $(OUT),build/demo) $(if $(KEEP),--keep)

test: $(VENV)/.dev ## all tests; those whose peers are missing say so
	-@sh deploy/setup/peers.sh
	$(RUN) -m pytest $(PYTEST)

check: $(VENV)/.dev ## style, types and the direction of imports
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy app operators models tests deploy
	$(VENV)/bin/lint-imports

format: $(VENV)/.dev ## write the house's formatting
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

run: $(VENV)/.serving ## the node, with the settings of app.yaml
	$(RUN) -m app run

bench: peers-of-demo $(VENV)/.dev $(VENV)-train/.installed ## speed beside what a user could run instead
	$(RUN) -m tests.bench --out $(or $(OUT),build/bench)

chaos: peers-of-demo $(VENV)/.dev ## N processes killed at random moments of a ten-study run: nothing lost, nothing doubled
	$(RUN) -m tests.chaos --n $(N) --seed $(SEED) --out $(or $(OUT),build/chaos)

train: $(VENV)-train/.installed ## train the bundle on DATA
	$(TRAIN) -m models.encoder.train --data $(DATA) --out $(or $(OUT),build/train) --seed $(SEED)

parity: $(VENV)-train/.installed ## compare the nets and their ONNX with the reference's numbers in FIXTURES
	$(TRAIN) -m models.encoder.parity --fixtures "$(FIXTURES)" --out "$(or $(OUT),build/parity)"

evaluate: $(VENV)-train/.installed ## judge BUNDLE on DATA
	$(TRAIN) -m models.encoder.evaluate --data $(DATA) --bundle $(BUNDLE) --out $(or $(OUT),build/evaluate)

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
