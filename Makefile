# `make help` explains the targets. Everything is installed into .venv, nothing elsewhere.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 8000
# Tests run in so many processes, of one thread each.
WORKERS ?= 2
# Which versions are installed; make CONSTRAINTS=mine.txt takes others.
CONSTRAINTS ?= constraints.txt
export DCFNET_SCENE ?= wv3-longmont

BIN := .venv/bin
# One folder per scene: pages that show licensed imagery never mix with those that do not.
OUT := _build/$(DCFNET_SCENE)
HTML := $(OUT)/_build/html
PARALLEL := -n $(WORKERS) --dist worksteal

.PHONY: help install data book pdf zip serve lab check quick test benchmarks clean

help: ## explain the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

install: .venv/installed ## set up .venv (the other targets do it by themselves)

.venv/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 15), "Python 3.11 to 3.14 is needed; say make PYTHON=python3.12"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[imagery,book,lab,test,check,archive,fast]'
	@# JupyterLab would ask at its first start whether to fetch news.
	@$(BIN)/jupyter labextension disable @jupyterlab/apputils-extension:announcements 2>/dev/null
	@touch $@

data: .venv/installed ## build the HDF5 files of the scene
	$(BIN)/dcfnet data

book: data ## build the book: environment, data, rendered pages
	$(BIN)/jupyter-book build . --all --path-output $(OUT) --warningiserror --keep-going --quiet
	@echo "The book is ready. Open $(CURDIR)/$(HTML)/index.html"

pdf: book ## print the book into one PDF, with Chromium, and link it on its first page
	$(BIN)/jupyter-book build . --builder singlehtml --path-output $(OUT) --quiet
	$(BIN)/python book/print.py $(OUT)/_build/singlehtml $(HTML)/dcfnet.pdf

zip: book ## pack the pages into one file, to read them offline, and link it on the first page
	$(BIN)/python book/take_along.py $(HTML) $(HTML)/dcfnet-book.zip

serve: ## serve the built book at http://localhost:8000
	@test -f $(HTML)/index.html || $(MAKE) book
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(HTML)

lab: data ## run the chapters in JupyterLab
	$(BIN)/jupyter lab --notebook-dir book

check: .venv/installed ## style, types, and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

quick: data ## unit tests alone, in two minutes and a half
	$(BIN)/python -m pytest $(PARALLEL) -m "not pages and not slow"

test: data ## all tests: units, every chapter executed, every page opened in Chromium
	$(BIN)/python -m pytest $(PARALLEL)

benchmarks: data ## measure speed and memory, as ratios
	$(BIN)/python -m tests.benchmarks

clean: ## delete what was built (the environment, the data and the book)
	rm -rf .venv _build data/*/*.h5 .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
