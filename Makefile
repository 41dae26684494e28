# Each of demo, test, test-slow and lab makes .venv by itself on first use. Options for the program: make demo ARGS="--fresh"
# Another Python (3.11 to 3.13): make demo PYTHON=python3.13. Without make: python -m workbench demo

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
ifndef PYTHON
PYTHON := $(or $(shell for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c '$(SUPPORTED)' 2>/dev/null; then echo $$python; break; fi; done),python3)
endif

.PHONY: help demo test test-slow lab browser clean

help:
	@echo "make demo        compare chunk sizes on the demo documents (ARGS=--fresh starts over)"
	@echo "make test        run the tests"
	@echo "make test-slow   run the tests of sweeps under fire in full size: a quarter of an hour or so"
	@echo "make lab         open the notebooks in JupyterLab, on this machine only"
	@echo "make browser     install Chromium and a Korean font for the tests of the interfaces, on Debian and Ubuntu"
	@echo "make clean       remove .venv and what tools left behind; outputs/ is kept"

demo test test-slow lab:
	@$(PYTHON) -m workbench $@ $(ARGS)

browser:
	@$(PYTHON) -m workbench.bootstrap_browser

# Removes only what is made again by itself. outputs/ holds results and paid model answers: delete it by hand if you mean it.
clean:
	rm -rf .venv build dist rag_workbench.egg-info .pytest_cache .ruff_cache
	find . -path ./outputs -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
