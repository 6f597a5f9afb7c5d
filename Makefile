# Everything runs in an environment of its own, .venv; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME ?= cpu
DEMO := demo
PEERS := .venv-peers
DOCS := .venv-docs
PORT ?= 8000

ASSETS ?= $(FGCAM_ASSETS)
ZOO ?= $(FGCAM_ZOO)
OUT ?= build
SECONDS ?= 300

.PHONY: help demo test check house dist docs gallery docs-figures fuzz bench peers coverage truth results exporting training pictures runtimes web gpu clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

$(BIN)/.installed-$(RUNTIME): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(RUNTIME)]"
	@touch $@

$(BIN)/.installed-dev: pyproject.toml $(BIN)/.installed-$(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(RUNTIME),dev]"
	@touch $@

demo: $(BIN)/.installed-$(RUNTIME)  ## explain the bundled pictures, and say where the overlays are
	@$(BIN)/fgcam demo -o $(DEMO)

test: check  ## everything: style, types, layering, tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(BIN)/.installed-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

house: $(BIN)/.installed-dev  ## floors and circles of the import graph, length of files
	@$(BIN)/python tools/house/floors.py

dist: $(BIN)/.installed-dev  ## wheel and sdist, each tried in a clean environment of every Python that is there
	$(BIN)/python tools/house/dist.py dist

$(DOCS)/.installed: pyproject.toml
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[cpu,docs]"
	@touch $@

docs: $(DOCS)/.installed  ## the manual as a static site, build/site/index.html: built strictly, links checked, nothing fetched
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict -f tools/manual/mkdocs.yml
	@$(DOCS)/bin/python tools/manual/check.py build/site

gallery: $(BIN)/.installed-$(RUNTIME)  ## the manual's pictures and its table of methods, from the bundled models
	$(BIN)/python tools/manual/pictures.py

docs-figures: $(BIN)/.installed-dev  ## every table of figures in the docs again, under build/figures; what cannot be made here is said
	FGCAM_ASSETS="$(ASSETS)" FGCAM_ZOO="$(ZOO)" $(BIN)/python tools/house/figures.py --run $(OUT)/figures

fuzz: $(BIN)/.installed-dev  ## mutated models, random nets, files and arguments, held against oracles: SECONDS=300
	$(BIN)/python tools/fuzz/fuzz.py --seconds $(SECONDS)

$(PEERS)/.installed: pyproject.toml tools/peers/requirements.txt
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep ^torch== tools/peers/requirements.txt)"
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[cpu]" -r tools/peers/requirements.txt
	@touch $@

peers: $(PEERS)/.installed  ## our numbers beside pytorch-grad-cam's, captum's, zennit's and others' on the same nets
	$(PEERS)/bin/python tools/peers/peers_gradcam.py
	$(PEERS)/bin/python tools/peers/peers_compat.py
	$(PEERS)/bin/python tools/peers/peers_masked.py
	$(PEERS)/bin/python tools/peers/peers_captum.py
	$(PEERS)/bin/python tools/peers/peers_attributions.py
	$(PEERS)/bin/python tools/peers/peers_zennit.py
	$(PEERS)/bin/python tools/peers/peers_attention.py
	$(PEERS)/bin/python tools/peers/peers_metrics.py
	$(PEERS)/bin/python tools/peers/peers_tokens.py
	$(PEERS)/bin/python tools/peers/peers_rank.py
	$(PEERS)/bin/python tools/peers/peers_adapters.py exported_models/resnet_shapes.dynamo.onnx exported_models/pictures/star.png

runtimes: $(BIN)/.installed-dev  ## exported files in other runtimes and a browser; what is not to be had is skipped, and said
	@sh tools/runtimes/install.sh $(abspath $(BIN)/python) $(abspath .venv-runtimes)
	$(BIN)/python -m pytest -rs tools/runtimes

web: $(BIN)/.installed-$(RUNTIME)  ## the page that explains pictures in the tab, on localhost
	@cmp -s tools/browser/package-lock.json tools/browser/node_modules/.installed || { \
		npm ci --prefix tools/browser --ignore-scripts --no-audit --no-fund && \
		cp tools/browser/package-lock.json tools/browser/node_modules/.installed; }
	@$(BIN)/python tools/browser/prepare.py
	@$(BIN)/python tools/browser/serve.py tools/browser/files $(PORT)

bench: $(BIN)/.installed-$(RUNTIME)  ## time, as ratios to the plain forward pass: explanations, exported files
	$(BIN)/python tools/bench/bench.py
	$(BIN)/python tools/bench/bench_export.py

coverage: $(BIN)/.installed-$(RUNTIME)  ## many models: ZOO=FOLDER of exports, ASSETS=FOLDER of real models and photographs
	@test -n "$(ZOO)$(ASSETS)" || { echo "say where models are: make coverage ZOO=FOLDER ASSETS=FOLDER"; exit 1; }
	@mkdir -p $(OUT)
	test -z "$(ZOO)" || $(BIN)/python tools/coverage/coverage.py "$(ZOO)" -o $(OUT)/coverage
	test -z "$(ZOO)" || $(BIN)/python tools/coverage/token_layers.py "$(ZOO)" -o $(OUT)/token_layers.md
	test -z "$(ASSETS)" || $(BIN)/python tools/coverage/real_models.py "$(ASSETS)" $(OUT)/real_models --pictures 12 --every

truth: $(BIN)/.installed-$(RUNTIME)  ## how good auto is beside other maps: ASSETS=FOLDER of real models and photographs
	@test -n "$(ASSETS)" || { echo "say where models are: make truth ASSETS=FOLDER"; exit 1; }
	$(BIN)/python tools/truth/truth.py "$(ASSETS)" $(OUT)/truth
	$(BIN)/python tools/truth/table.py $(OUT)/truth

results: $(BIN)/.installed-$(RUNTIME)  ## what is claimed of maps, measured again: ASSETS=FOLDER; goes on where it was stopped
	@test -n "$(ASSETS)" || { echo "say where models are: make results ASSETS=FOLDER"; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/python tools/truth/reproduce.py "$(ASSETS)" $(OUT)/results --page docs/results.md

exporting:  ## how the bundled net is exported from Keras, JAX and PaddlePaddle: environments and commands
	@sed -n '/^In an environment/,/^"""/{/^"""/d;p;}' tools/exporting/export_*.py

training:  ## the bundled nets and pictures anew, into FOLDER=exported_models; PYTHON has PyTorch
	@test -n "$(FOLDER)" || { echo "say where to: make training FOLDER=exported_models PYTHON=python-with-torch"; exit 1; }
	$(PYTHON) tools/training/train_shapes.py $(FOLDER)
	$(PYTHON) tools/training/train_kinds.py $(FOLDER)
	$(PYTHON) tools/training/shapes.py $(FOLDER)/pictures --seed 12

pictures: $(BIN)/.installed-$(RUNTIME)  ## the README's pictures
	$(BIN)/python tools/training/readme_picture.py docs/demo.png

gpu: $(BIN)/.installed-dev  ## on CUDA (RUNTIME=gpu VENV=.venv-gpu): tests and times; skipped, with the reason, elsewhere
	$(BIN)/python -m pytest -rs tests/models/test_gpu.py
	$(BIN)/python tools/bench/bench.py --device cuda --program fgcam --batch 1 --batch 32

clean:  ## remove what the others made
	rm -rf $(VENV) .venv-runtimes $(PEERS) $(DOCS) $(DEMO) explanations build dist tools/browser/files tools/*/node_modules
