.PHONY: env run test test-integration check format lock clean
ARGS ?=

env: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@python=; for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "make: no Python 3.11 or later found: install one, e.g. apt install python3 python3-venv" >&2; exit 1; fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then echo "make: $$python lacks the venv module: e.g. apt install python3-venv" >&2; exit 1; fi; \
	if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then "$$python" -m venv --clear .venv; fi
	.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
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
	.venv/bin/pytest -m "not integration"

format: env
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock:
	@command -v uv >/dev/null || { echo "make: uv is needed to resolve: https://docs.astral.sh/uv" >&2; exit 1; }
	uv pip compile --universal --python-version 3.11 --generate-hashes --extra embedded --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
