# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Short names only. What the checks are stands in noxfile.py, what a machine needs in tests/tools/bootstrap.sh.

export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.build/collections

CHECKS := .build/venv/bin/python tests/tools/run_checks.py
DEMO := PATH="$(CURDIR)/.build/demo-venv/bin:$$PATH" PYTHONPATH="$(ANSIBLE_COLLECTIONS_PATH)" .build/demo-venv/bin/python

.PHONY: help
help:
	@echo 'make demo         check a fleet of lab hosts and leave records and report in demo/'
	@echo 'make test         everything that a change must pass'
	@echo 'make lint         the part of it that runs no test'
	@echo 'make unit         the unit tests'
	@echo 'make integration  the tests that run Ansible'
	@echo 'make docs         the documentation site, in .build/site/html'
	@echo 'make mutation     mistakes in the code that decides, which the unit tests must notice'
	@echo 'make bench        speed and memory, as ratios'
	@echo 'make clean        remove what these made'

.PHONY: demo
demo:
	@sh tests/tools/bootstrap.sh demo
	@$(DEMO) tests/lab/demo.py

.PHONY: bench
bench:
	@sh tests/tools/bootstrap.sh demo
	@$(DEMO) tests/bench

.PHONY: test
test:
	@sh tests/tools/bootstrap.sh test
	@$(CHECKS)

.PHONY: lint
lint:
	@sh tests/tools/bootstrap.sh lint
	@$(CHECKS) --tags lint

.PHONY: unit integration
unit integration:
	@sh tests/tools/bootstrap.sh test
	@$(CHECKS) --session $@

.PHONY: docs
docs:
	@sh tests/tools/bootstrap.sh lint
	@$(CHECKS) --session site

.PHONY: mutation
mutation:
	@sh tests/tools/bootstrap.sh lint
	@.build/venv/bin/nox -s mutation

.PHONY: clean
clean:
	rm -rf .build demo
