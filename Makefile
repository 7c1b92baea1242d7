# The two commands a newcomer needs are `make demo` and `make test`; both set everything up themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DIR    ?= ../shared/real/berka
ARGS   ?=
# Demo and tests start hundreds of programs: each would compile all it imports where Python may not keep the result.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test check bench berka lock iso-classes clean help

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(BIN)/nostro: requirements/bootstrap.txt requirements/runtime.txt
	@echo "Setting up $(VENV) (once) …"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; say PYTHON=… if it has another name.")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(call install,requirements/runtime.txt)
	@$(BIN)/python -c "import pathlib, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), 'nostro.pth').write_text(str(pathlib.Path.cwd()) + '\n')"
	@printf '#!%s/%s\nimport sys\nfrom nostro.cli import main\nsys.exit(main())\n' "$(CURDIR)" "$(BIN)/python" > $@.new
	@chmod +x $@.new && mv $@.new $@

$(VENV)/.dev: requirements/dev.txt $(BIN)/nostro
	@$(call install,requirements/dev.txt)
	@touch $@

# uv installs in seconds; where it cannot reach what pip can, pip does the same work.
define install
	$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r $(1) 2>$(VENV)/uv.log \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
endef

setup: $(BIN)/nostro $(VENV)/.dev  ## virtual environment with every pinned package

demo: $(BIN)/nostro  ## a business week from sales to certified books (ARGS="--anomalies 200")
	@$(BIN)/nostro demo $(ARGS)

# Planning a small question of the matcher allocates and frees without end: longer lists of free pieces save a tenth of it.
test: export GLIBC_TUNABLES := glibc.malloc.tcache_count=2000
test: setup  ## every test, against a real Postgres
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup  ## style, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BIN)/nostro  ## small versions of every benchmark
	@for name in posting single pain001; do $(BIN)/nostro bench $$name --small $(ARGS) || exit $$?; done

berka: $(BIN)/nostro  ## a real bank's journal from import to certificates (DIR=folder)
	@$(BIN)/nostro berka $(DIR) $(ARGS)

lock: $(BIN)/nostro  ## compile requirements/*.in into pinned, hashed *.txt
	@for name in dev runtime bootstrap; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-header $$( [ $$name = runtime ] && echo "-c requirements/dev.txt" ) \
	    requirements/$$name.in -o requirements/$$name.txt || exit $$?; done

iso-classes: setup  ## model classes of pain.008.001.08, which pyiso20022 lacks (needs the packages of xsdata[cli])
	cd settlement/iso20022/generated && PATH="$(CURDIR)/$(BIN):$$PATH" xsdata generate \
	  "$$($(CURDIR)/$(BIN)/python -c 'import sepaxml; print(sepaxml.__path__[0])')/schemas/pain.008.001.08.xsd" \
	  --package iso_classes --structure-style filenames --docstring-style Blank --max-line-length 120
	mv settlement/iso20022/generated/iso_classes/pain_008_001_08.py settlement/iso20022/generated/
	rm -r settlement/iso20022/generated/iso_classes

clean:  ## remove what setup and runs made (the books in .nostro too)
	rm -rf $(VENV) .nostro .pytest_cache .mypy_cache .ruff_cache .hypothesis
