# make demo   install, and do the whole main job on this machine in a few minutes
# make test   install, and run the test suite: under ten minutes on two idle cores
# make test-slow   what is thorough and takes its time: fuzzing, long failures
# make lint   ruff, mypy and the arrows of import; with node, the page too
# make lint-page   format, lint and types of the page, which need node 20 or newer
# make lock   pin again, with hashes, what the images are made of
# make lock-torch   the same for the torch of the CPU image, after `make lock`

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
INSTALLED := $(VENV)/.installed
ROOMS := $(patsubst %/py.typed,%,$(wildcard */py.typed))

NPM_READY := node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' 2>/dev/null
TOOLING := service/page/tooling

.PHONY: demo test test-slow lint lint-page lock lock-torch clean

demo: $(INSTALLED)
	$(BIN)/elasticnas demo

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p build/types/elasticnas
	for room in $(ROOMS); do ln -sfn ../../../$$room build/types/elasticnas/$$room; done
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if $(NPM_READY) && (cd $(TOOLING) && npm ci --silent --no-audit --no-fund); \
	then $(MAKE) --no-print-directory lint-page; \
	else echo "The page is NOT checked: that needs node 20, npm and the packages of $(TOOLING)."; fi

lint-page: $(INSTALLED)
	@test -d $(TOOLING)/node_modules || (cd $(TOOLING) && npm ci --no-audit --no-fund)
	$(BIN)/python $(TOOLING)/openapi.py > $(TOOLING)/openapi.json
	cd $(TOOLING) && npm run --silent lint && npm run --silent types

lock: $(INSTALLED)
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --extra all --quiet --universal \
		--python-version 3.11 --generate-hashes --no-annotate --output-file docker/requirements.lock

# PyTorch's own index has a torch without CUDA under the same version.
lock-torch: $(INSTALLED)
	sed -n 's/^\(torch==[^ ]*\).*/\1/p' docker/requirements.lock \
		| UV_CUSTOM_COMPILE_COMMAND="make lock-torch" $(BIN)/uv pip compile - --quiet --no-deps --universal \
		--python-version 3.11 --generate-hashes --no-annotate --default-index $(TORCH_INDEX) \
		--output-file docker/torch-cpu.lock

# The environment is made anew when the dependencies change, and only then.
$(INSTALLED): pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "ElasticNAS needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --editable ".[demo]" --group dev
	@touch $(INSTALLED)

clean:
	rm -rf $(VENV) demo
