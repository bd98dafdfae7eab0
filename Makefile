# Every target sets itself up on a fresh machine: the environment is made when it is missing or pyproject.toml changed.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/
WORKERS ?= $(shell $(PYTHON) -c "import os; print(1 + (os.cpu_count() or 1))") # one more than cores: many tests wait
SUITE := -n $(strip $(WORKERS)) --dist loadfile --no-loadscope-reorder
export PYTHONDONTWRITEBYTECODE := # hundreds of processes of the tests would compile the same files

.PHONY: demo test test-all test-isa test-lowest coverage check docs bench bench-smoke gpu gpu-wheels release setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      train one small model of each family on the standard library's text and show them (6 min, 2 cores)"
	@echo "make test      the test suite (5 min, 2 cores)   make test-all  also the slow ones"
	@echo "make check     style, types, import layers   make docs      build the documentation   make bench  benchmarks"
	@echo "make release   the wheel, built twice and compared, and the list of its components   make test-lowest  oldest libraries"
	@echo "make test-isa  the numeric tests under each instruction set that this processor has (AVX2, AVX-512 ...)"
	@echo "make coverage  the test suite, and which lines and branches of the program it runs: 95 % of all, files and errors whole"
	@echo "make gpu       tests and speed on a CUDA device, 8 minutes, no network   make gpu-wheels  what it needs beside torch"
	@echo "make bench-smoke  every side of every benchmark, as little as shows that it runs (< 1 min)"

$(READY): pyproject.toml
	test -x $(RUN)python || $(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install -q --no-compile --disable-pip-version-check -e ".[dev]" # what is imported is compiled then
	touch $(READY)

setup: $(READY)

demo: $(READY)
	$(RUN)trifold demo

test: $(READY)
	$(RUN)python -m pytest $(SUITE) -m "not slow and not gpu"

test-all: $(READY)
	$(RUN)python -m pytest $(SUITE) --shapes all

# the numeric tests once for each instruction set of x86 that this processor has
test-isa: $(READY)
	$(RUN)python -m tests.instruction_sets

# the workers and every program that a test starts report; those that are killed cannot
coverage: $(READY)
	rm -f .coverage .coverage.*
	$(RUN)python -m coverage run -m pytest $(SUITE) -m "not slow and not gpu"
	$(RUN)python -m coverage combine -q
	$(RUN)python -m coverage report
	$(RUN)python -m coverage report --fail-under=100 \
		--include='*/trifold/checkpoint/*,*/trifold/data/*,*/trifold/errors.py,*/trifold/hub.py'

check: $(READY)
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)pyright --pythonpath $(RUN)python
	$(RUN)lint-imports

docs: $(READY)
	$(RUN)python -m pip install -q --disable-pip-version-check -e ".[docs]"
	$(RUN)python scripts/api.py
	$(RUN)python scripts/api.py
	$(RUN)zensical build -f zensical.toml
	$(RUN)zensical build -f zensical.zh.toml

bench: $(READY)
	$(RUN)python -m benchmarks all --page docs/performance.md --page-zh docs/zh/performance.md \
		$(if $(NANOGPT),--nanogpt $(NANOGPT)) $(if $(JOEYNMT),--joeynmt $(JOEYNMT))

# the tests with every run-time dependency at its lower bound
test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) scripts/lowest.py > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install -q --disable-pip-version-check -c $(VENV)-lowest/constraints.txt -e ".[dev]"
	$(VENV)-lowest/bin/python -m pytest $(SUITE) -m "not slow and not gpu"

release: $(READY)
	$(RUN)python scripts/release.py

bench-smoke: $(READY)
	$(RUN)python -m benchmarks all --smoke

# no environment of its own: the machine's torch knows its device
gpu:
	bash scripts/gpu.sh $(if $(NANOGPT),--nanogpt $(NANOGPT))

gpu-wheels: $(READY)
	$(RUN)python scripts/gpu_wheels.py

clean:
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
