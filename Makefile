.PHONY: bench env run test test-integration check format lock clean
ARGS ?=
MARKED ?= not integration
SIZE ?= small

env: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@python=; for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "make: no Python 3.11 or later found: install one, e.g. apt install python3 python3-venv" >&2; exit 1; fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then echo "make: $$python lacks the venv module: e.g. apt install python3-venv" >&2; exit 1; fi; \
	if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then "$$python" -m venv --clear .venv; fi
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: env
	@exec .venv/bin/mythos-gate demo $(ARGS)

test: env
	.venv/bin/pytest -m "not integration" $(ARGS)

test-integration: env
	.venv/bin/pytest -m integration $(ARGS)

check: env
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pytest -m "$(MARKED)"

format: env
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock:
	@command -v uv >/dev/null || { echo "make: uv is needed to resolve: https://docs.astral.sh/uv" >&2; exit 1; }
	uv pip compile --universal --python-version 3.11 --generate-hashes --extra embedded --extra proofs --group dev pyproject.toml -o requirements.lock

bench: env .bench/.ready
	@PYTHONPATH=.bench/site .venv/bin/python -m bench $(SIZE) $(ARGS)

.bench/.ready: bench/requirements.txt bench/install.py .venv/.ready
	@command -v wrk >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -o DPkg::Lock::Timeout=300 install -y -q wrk; } || { echo "make: wrk is needed for the load: e.g. apt install wrk" >&2; exit 1; }
	rm -rf .bench/site
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes --target .bench/site -r bench/requirements.txt
	.venv/bin/python bench/install.py .bench/cerbos
	@touch $@

clean:
	rm -rf .bench .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
