# make run: the program. make test: the suite. make check: everything that is checked without running it.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

.PHONY: run test check bench setup setup-dev coverage-sim format

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

coverage-sim: setup-dev
	@$(BIN)/python -m bench.coverage_sim
