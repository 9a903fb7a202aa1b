# make run: the program. make test: the suite. make check: everything that is checked without running it.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

.PHONY: run test clients check bench setup setup-dev coverage-sim stats-coverage format

setup: .venv/.ready
setup-dev: .venv/.ready-dev

# Fresh when the pinned requirements are older than the last install from them.
.venv/.ready: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/.ready-dev: requirements.txt requirements-dev.txt .venv/.ready
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: setup
	@PORT=$(PORT) $(BIN)/python -m cxlab.run

test: setup-dev
	@$(BIN)/python -m tests.run

# Public exporters and evaluation clients, unmodified, for tests/test_real_clients.py: they pin other versions than cxlab does.
clients:
	@$(PYTHON) -m venv .venv-clients/otel && .venv-clients/otel/bin/pip install --quiet fi-instrumentation-otel==1.1.0 traceai-openai==0.1.10 traceai-langchain==0.2.0 langchain-openai==1.7.4 openinference-instrumentation-openai==0.1.66 opentelemetry-exporter-otlp-proto-http==1.45.2
	@$(PYTHON) -m venv .venv-clients/evals && .venv-clients/evals/bin/pip install --quiet ai-evaluation==1.1.0

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy cxlab labeling calibration
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check
	$(BIN)/python -m tests.templates
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup-dev
	@$(BIN)/python -m bench

# The tables of docs/statistics.md, about half an hour; each part also by itself, see the modules.
coverage-sim: setup-dev
	@$(BIN)/python -m bench.coverage_sim
	@$(BIN)/python -m bench.designs_sim --write
	@$(BIN)/python -m bench.verdict_sim --write

# Every branch of the statistics, by their own tests.
stats-coverage: setup-dev
	@$(BIN)/python -m pytest tests/stats tests/labeling/test_design.py tests/labeling/test_dawid_skene.py -q -n 0 --cov=calibration.stats --cov=labeling.design --cov=labeling.dawid_skene --cov-branch --cov-report=term-missing --cov-fail-under=100
