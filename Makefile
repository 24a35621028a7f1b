# Every target sets up what it needs; Python 3.11+, git and make are enough to start.
PYTHON ?= python3
VENV := .venv
UV := .tools/bin/uv
CYCLONEDX := .tools/sbom/bin/cyclonedx-py
BIN := $(VENV)/bin
SETUP := $(VENV)/.ready
UPSTREAM := .upstream
UPSTREAM_TESTS := tests/trainer
SBOM := dist/sbom
DETECTRON2 = $(shell sed -n 's/^ARG DETECTRON2=//p' trainer-image/Dockerfile)
# A shell that forbids bytecode makes every import of torch take three times as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup lock sbom lint unit search trainer trainer-upstream apiserver chart cluster test demo bench bench-trainer naive chaos matrix boards cluster-up cluster-down clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: $(SETUP) ## Install everything a checkout needs into .venv

$(UV): requirements/installer.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .tools
	.tools/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Detectron2's source package is built without isolation against a stand-in for torch (see trainer-image/detectron2-pypi).
$(SETUP): $(UV) requirements/dev.lock trainer-image/detectron2-pypi/requirements.txt operator/pyproject.toml trainer-image/pyproject.toml
	test -x $(BIN)/python || $(UV) venv -q --python $(PYTHON) $(VENV)
	$(UV) pip sync -q --python $(BIN)/python --require-hashes requirements/dev.lock
	PYTHONPATH=$(CURDIR)/trainer-image/detectron2-pypi/build-torch $(UV) pip install -q --python $(BIN)/python \
	  --no-deps --no-build-isolation --require-hashes -r trainer-image/detectron2-pypi/requirements.txt
	$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e operator -e trainer-image
	@touch $@

lock: $(UV) ## Lock the dependencies again, with hashes
	for name in installer build operator trainer dev sbom; do \
	  $(UV) pip compile -q --universal --generate-hashes --python-version 3.11 --no-annotate --no-header \
	    requirements/$$name.in -o requirements/$$name.lock || exit 1; done

# Not among what a checkout needs: with the packages it brings, jsonschema takes a second longer to import.
$(CYCLONEDX): $(UV) requirements/sbom.lock
	test -x .tools/sbom/bin/python || $(UV) venv -q --python $(PYTHON) .tools/sbom
	$(UV) pip sync -q --python .tools/sbom/bin/python --require-hashes requirements/sbom.lock
	@touch $@

# A lock is flat, so the warning that says so is silenced.
sbom: export PYTHONWARNINGS = ignore:The Component this BOM:UserWarning
sbom: $(CYCLONEDX) ## Bills of materials (CycloneDX) of what the two images install from the locks
	mkdir -p $(SBOM)
	$(CYCLONEDX) requirements --pyproject operator/pyproject.toml \
	  -o $(SBOM)/detectron-operator.cdx.json requirements/operator.lock
	$(CYCLONEDX) requirements --pyproject trainer-image/pyproject.toml \
	  -o $(SBOM)/detectron-trainer.cdx.json requirements/trainer.lock

lint: $(SETUP) ## ruff, mypy --strict, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(SETUP) ## Pure functions: plan, manifests, status, progress, config
	$(BIN)/pytest -q tests/unit

search: $(SETUP) ## Property tests on other examples each time, for minutes; what they find is printed as a program
	$(BIN)/pytest -q -m hypothesis --hypothesis-profile=search --timeout=3600 tests/unit

trainer: $(SETUP) ## Real Detectron2 under torchrun on this machine
	$(BIN)/python -m tests.cluster build promtool
	$(BIN)/pytest -q tests/trainer

# Beside .venv, whose packages it sees: only Detectron2 is another, built as in the trainer image.
trainer-upstream: $(SETUP) ## The trainer's tests on the Detectron2 that its image builds (network, a C++ compiler, minutes)
	$(UV) venv -q --allow-existing --python $(BIN)/python $(UPSTREAM)
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > "$$($(UPSTREAM)/bin/python -c 'import site; print(site.getsitepackages()[0])')/venv.pth"
	$(UV) pip install -q --python $(UPSTREAM)/bin/python --no-deps --no-build-isolation "detectron2 @ $(DETECTRON2)" -e operator -e trainer-image
	$(UPSTREAM)/bin/python -m pytest -q $(UPSTREAM_TESTS)

apiserver: $(SETUP) ## The operator against a real API server and etcd
	$(BIN)/python -m tests.cluster build kube etcd kwok kueue promtool
	$(BIN)/pytest -q tests/apiserver

chart: $(SETUP) ## helm render, lint, schema
	$(BIN)/python -m tests.cluster build helm
	$(BIN)/pytest -q tests/chart

cluster: $(SETUP) ## Two real nodes, our images, Prometheus, helm (root on Debian, or KUBECONFIG)
	$(BIN)/python -m tests.cluster build
	$(BIN)/pytest -q tests/cluster

test: lint unit trainer apiserver chart cluster ## Every layer

demo: $(SETUP) ## Train a Mask R-CNN on handwritten digits here, without a cluster
	$(BIN)/python examples/digits/make_digits.py --output runs/digits/data
	$(BIN)/detectron-trainer run examples/digits/job.yaml --output runs/digits/output --volume data=runs/digits/data

bench: $(SETUP) ## The operator's latency, throughput, recovery and memory on a real API server
	$(BIN)/python -m tests.cluster build kube etcd kwok
	$(BIN)/python -m bench.operator --jobs 300
	$(BIN)/python -m bench.operator --jobs 1000 --idle 5 --rounds 1
	$(BIN)/python -m bench.operator --jobs 1000 --pods 4 --idle 5 --rounds 1
	$(BIN)/python -m bench.operator --jobs 100 --pods 32 --idle 5 --rounds 1
	$(BIN)/python -m bench.polling --jobs 1000

bench-trainer: $(SETUP) ## The trainer beside Detectron2's own loops
	$(BIN)/python -m bench.trainer
	$(BIN)/python -m bench.losses

naive: $(SETUP) ## Each trap's tests, on sources that fall into it: docs/detectron2-traps.md
	$(BIN)/python -m tests.naive

chaos: $(SETUP) ## Every fault into a real two-node job, measured: docs/faults.md (root on Debian)
	$(BIN)/python -m tests.cluster build
	$(BIN)/python -m tests.chaos --publish docs

matrix: $(SETUP) ## The chart in every variant on real nodes, measured: docs/chart-matrix.md (root on Debian)
	$(BIN)/python -m tests.cluster build
	$(BIN)/python -m tests.matrix --publish docs

boards: $(SETUP) ## Pictures of the boards, after jobs on the real cluster: docs/boards (root on Debian)
	$(BIN)/python -m tests.cluster build
	$(BIN)/python -m tests.boards

cluster-up: $(SETUP) ## Start the two-node cluster (root on Debian)
	$(BIN)/python -m tests.cluster up

cluster-down: $(SETUP) ## Stop it and remove what it made
	$(BIN)/python -m tests.cluster down

clean: ## Remove the virtual environments
	rm -rf .venv .tools $(UPSTREAM)
