PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DATA := $(abspath $(if $(REFUSION_DATA),$(REFUSION_DATA),data))
# A test waits for the disk now and then: one worker more than there are cores keeps them all at work.
WORKERS := $(shell expr $$(nproc) + 1)
AUDIT := $(VENV)/audit/bin
LOCKS := requirements.lock tests/ui/requirements.lock bench/requirements.lock .ci/requirements.lock
# Python keeps what it compiled, also where the environment says not to: each process would compile the package anew.
export PYTHONDONTWRITEBYTECODE :=
LAST_MONTHS = $(if $(wildcard $(DATA)/udgaaende/2026-10),2026-10,2026-08..2026-10)

.PHONY: setup run test unit soak ui-test check audit sbom secrets regelsider bench trial ui format clean

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

# The browser and PostgreSQL are Debian's: apt-get install chromium postgresql. UI=tests/ui/test_door.py: a part of it.
UI ?= tests/ui
ui-test: setup $(VENV)/kun-ui
	PYTHONPATH=$(abspath $(VENV)/kun-ui) POLARS_MAX_THREADS=1 $(BIN)/python -m pytest $(UI)

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

# Known weaknesses are asked of PyPI over the network: there is no list to keep here. The rest needs none.
audit: sbom secrets
	$(BIN)/python -m pytest tests/house/test_supply.py
	@for lock in $(LOCKS); do \
	  $(AUDIT)/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r $$lock || \
	  { echo "STOPPET: $$lock er ikke prøvet til ende, eller har en kendt svaghed; se ovenfor (kræver adgang til pypi.org)"; exit 1; }; \
	done

sbom: setup $(VENV)/audit/klar
	mkdir -p build
	$(AUDIT)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json
	@echo "Varedeklaration (CycloneDX): build/sbom.json"

# What looks like one and is none stands in the baseline, written by: detect-secrets scan --slim (docs/sikkerhed.md).
secrets: $(VENV)/audit/klar
	git ls-files -z -- ':!*.lock' ':!*.csv' ':!*.json' ':!*.svg' ':!*.png' | xargs -0 -P 2 -n 100 $(AUDIT)/detect-secrets-hook --baseline .ci/secrets.json

$(VENV)/audit/klar: .ci/requirements.lock
	test -x $(AUDIT)/python || $(PYTHON) -m venv $(VENV)/audit
	$(AUDIT)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

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
