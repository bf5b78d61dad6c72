# The menu. `make help` prints it.
PYTHON ?= python3
PY := .venv/bin/python
# Without build isolation: it would fetch build tools that no lock file names.
PIP_INSTALL := pip install --quiet --disable-pip-version-check
# The branch whose API must not be broken.
BASE ?= main

.PHONY: help install serve test coverage faults lint clients conformance audit check dist generate lock bench fuzz soak clean
.DEFAULT_GOAL := help

help: ## Print this menu
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

install: .venv/installed ## Make .venv with everything at its locked version

.venv/installed: requirements/build.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("workflowstore needs CPython 3.11 or newer; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PY) -m $(PIP_INSTALL) --require-hashes --requirement requirements/build.txt
	$(PY) -m $(PIP_INSTALL) --require-hashes --no-build-isolation --requirement requirements/dev.txt
	$(PY) -m $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv-generate/installed: requirements/generate.txt
	$(PYTHON) -m venv .venv-generate
	.venv-generate/bin/python -m $(PIP_INSTALL) --require-hashes --requirement requirements/generate.txt
	@touch $@

serve: install ## Serve on 127.0.0.1:50051 with an embedded nats-server; data in ./workflowstore-data
	@exec $(PY) -m workflowstore_server serve

test: install ## Run all tests
	$(PY) -m pytest --numprocesses=4 --dist=loadfile

# Apart from the tests alone, of whose time it costs a third as much again with Python 3.11.
coverage: install ## Run all tests and measure what they cover; less than 95 % fails
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest --numprocesses=4 --dist=loadfile
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

faults: install ## Look for lost writes and stale reads under kills, cuts, partitions and full disks; 9 minutes
	$(PY) -m pytest tests/faults --thorough --durations=20

lint: install .venv-generate/installed ## ruff, mypy --strict, buf, hadolint, yamllint, generated code up to date
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	.venv/bin/buf lint
	.venv/bin/buf format --diff --exit-code
	$(PY) tools/buf_breaking.py $(BASE)
	.venv/bin/hadolint Dockerfile
	.venv/bin/yamllint --strict deploy
	$(PY) tools/generate.py --check
	$(PY) tools/unasync.py --check
	$(PY) tools/api_docs.py --check

clients: install ## Check the clients in other languages: generated code, format, types, unit tests
	$(PY) tools/clients.py check

conformance: install ## Run the conformance cases in every language, against a server of their own
	$(PY) tools/clients.py conformance

audit: .venv-audit/installed ## Ask whether a locked package is known to be vulnerable, where that can be asked
	.venv-audit/bin/python tools/audit.py

check: lint test clients conformance audit ## What CI runs

dist: install .venv-audit/installed ## Build the wheel, the source distribution and their bill of materials into dist
	$(PY) -m hatchling build --directory dist
	.venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --short-PURLs \
		--output-file dist/workflowstore.cdx.json requirements/server.txt

.venv-audit/installed: requirements/audit.txt
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m $(PIP_INSTALL) --require-hashes --requirement requirements/audit.txt
	@touch $@

generate: install .venv-generate/installed ## Write the generated code and docs/api.md anew
	$(PY) tools/generate.py
	$(PY) tools/unasync.py
	$(PY) tools/api_docs.py
	$(PY) tools/clients.py generate

lock: .venv-generate/installed ## Write the lock files anew, with hashes and without an index address
	.venv-generate/bin/python tools/lock.py

bench: install ## Measure, as ratios within one run
	$(PY) -m bench

fuzz: .venv-fuzz/installed ## Send 1,465,000 made-up inputs to what reads bytes of others
	PYTHONPATH=tests .venv-fuzz/bin/python -m fuzz

.venv-fuzz/installed: requirements/build.txt requirements/fuzz.txt pyproject.toml
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m $(PIP_INSTALL) --require-hashes --requirement requirements/build.txt
	.venv-fuzz/bin/python -m $(PIP_INSTALL) --require-hashes --no-build-isolation --requirement requirements/fuzz.txt
	.venv-fuzz/bin/python -m $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

soak: install ## Load a server for 30 minutes, and tell what has grown meanwhile
	$(PY) -m bench.soak

clean: ## Remove what make made; data stay
	rm -rf .venv .venv-generate .venv-fuzz .venv-audit .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* dist
	rm -rf clients/java/target clients/typescript/node_modules clients/typescript/dist clients/typescript/build
