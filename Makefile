PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DATA := $(abspath $(if $(REFUSION_DATA),$(REFUSION_DATA),data))
# A test waits for the disk now and then: one worker more than there are cores keeps them all at work.
WORKERS := $(shell expr $$(nproc) + 1)
LAST_MONTHS = $(if $(wildcard $(DATA)/udgaaende/2026-10),2026-10,2026-08..2026-10)

.PHONY: setup run test unit soak ui-test check regelsider bench trial ui format clean

setup: $(VENV)/klar

$(VENV)/klar: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

run: setup
	test -d $(DATA)/raw/ky || REFUSION_DATA=$(DATA) $(BIN)/refusion eksempel --stoerrelse mini
	REFUSION_DATA=$(DATA) $(BIN)/refusion koer $(LAST_MONTHS)
	@echo "Brugerfladen: make ui (http://127.0.0.1:3000)"

test: setup
	POLARS_MAX_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

unit: setup
	POLARS_MAX_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/unit tests/house tests/law

soak: setup
	REFUSION_FLERE=20 POLARS_MAX_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The browser and PostgreSQL are Debian's: apt-get install chromium postgresql.
ui-test: setup $(VENV)/kun-ui
	PYTHONPATH=$(abspath $(VENV)/kun-ui) POLARS_MAX_THREADS=1 $(BIN)/python -m pytest tests/ui

$(VENV)/kun-ui: tests/ui/requirements.lock
	rm -rf $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $@ -r $<
	touch $@

check: setup
	$(BIN)/ruff format --check refusion_assets tests bench
	$(BIN)/ruff check refusion_assets tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/refusion regler

regelsider: setup
	$(BIN)/refusion regler --sider docs/regler --skema docs/skema

bench: setup
	test -d $(VENV)/kun-bench || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $(VENV)/kun-bench -r bench/requirements.lock
	$(BIN)/python bench/run.py --borgere $(or $(BORGERE),60000) --gem bench/RESULTS.md

# Kills, full disks and spoiled values, on Debian's C compiler: another seed with REFUSION_FROE=2. It writes docs/proevet.md.
trial: setup
	POLARS_MAX_THREADS=1 $(BIN)/python -m tests.trial $(PROEVE)

ui: setup
	REFUSION_DATA=$(DATA) $(BIN)/refusion ui

format: setup
	$(BIN)/ruff format refusion_assets tests bench
	$(BIN)/ruff check --fix refusion_assets tests bench

clean:
	rm -rf $(VENV)
