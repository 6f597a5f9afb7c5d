# Everything runs in an environment of its own, .venv; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME ?= cpu
DEMO := demo
PEERS := .venv-peers
PORT ?= 8000

.PHONY: demo test check runtimes web peers bench gpu clean

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
	@$(BIN)/fgcam explain exported_models/vgg_shapes.dynamo.onnx exported_models/pictures -o $(DEMO)/fgcam \
		--layer input --layer features.10
	@$(BIN)/fgcam explain exported_models/resnet_shapes.torchscript.onnx exported_models/pictures/two.png \
		--target top:2 -o $(DEMO)/two
	@echo "overlays: $(DEMO)/fgcam/*.png and $(DEMO)/two/*.png; one sheet per picture: *.sheet.png"

test: check  ## everything: style, types, layering, tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(BIN)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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
	$(PEERS)/bin/python tools/peers/peers_zennit.py
	$(PEERS)/bin/python tools/peers/peers_attention.py
	$(PEERS)/bin/python tools/peers/peers_metrics.py
	$(PEERS)/bin/python tools/peers/peers_adapters.py exported_models/resnet_shapes.dynamo.onnx exported_models/pictures/star.png

runtimes: $(BIN)/.installed-dev  ## exported files in other runtimes and a browser; what is not to be had is skipped, and said
	@sh tools/runtimes/install.sh $(abspath $(BIN)/python) $(abspath .venv-runtimes)
	$(BIN)/python -m pytest -rs tools/runtimes

web: $(BIN)/.installed-$(RUNTIME)  ## the page that explains pictures in the tab, on localhost
	@cmp -s tools/browser/package-lock.json tools/browser/node_modules/.installed || { \
		npm ci --prefix tools/browser --ignore-scripts --no-audit --no-fund && \
		cp tools/browser/package-lock.json tools/browser/node_modules/.installed; }
	@$(BIN)/python tools/browser/prepare.py
	@$(BIN)/python tools/browser/serve.py $(PORT)

bench: $(BIN)/.installed-$(RUNTIME)  ## ratios to the plain forward pass
	$(BIN)/python tools/bench/bench.py

gpu: $(BIN)/.installed-dev  ## on CUDA: make gpu RUNTIME=gpu VENV=.venv-gpu; skipped, with the reason, elsewhere
	$(BIN)/python -m pytest -rs tests/models/test_gpu.py
	$(BIN)/python tools/bench/bench.py --device cuda --program fgcam --batch 1 --batch 32

clean:
	rm -rf $(VENV) .venv-runtimes $(PEERS) $(DEMO) explanations build tools/browser/files tools/*/node_modules
