# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Short names only. noxfile.py describes the checks, tests/tools/bootstrap.sh what a machine needs.

export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.build/collections

CHECKS := .build/venv/bin/python tests/tools/run_checks.py
DEMO := PATH="$(CURDIR)/.build/demo-venv/bin:$$PATH" PYTHONPATH="$(ANSIBLE_COLLECTIONS_PATH)" .build/demo-venv/bin/python

.PHONY: help
help:
	@echo 'make demo         check a fleet of lab hosts and leave records and report in demo/'
	@echo 'make demo-shell   a shell with this fleet, to repeat the commands of the demonstration'
	@echo 'make test         what every change must pass: lint, unit and integration'
	@echo 'make lint         checks that run no test'
	@echo 'make unit         tests of the core'
	@echo 'make integration  tests that run Ansible'
	@echo 'make check-all    make test, and everything else that CI checks'
	@echo 'make check-rest   only what make check-all adds to make test'
	@echo 'make docs         the documentation site, in .build/site/html'
	@echo 'make mutation     mistakes in the code that decides, which the unit tests must notice'
	@echo 'make bench        speed and memory, as ratios; BENCH=store measures one part'
	@echo 'make clean        remove what these made'

.PHONY: demo
demo:
	@sh tests/tools/bootstrap.sh demo
	@$(DEMO) tests/lab/demo

.PHONY: demo-shell
demo-shell:
	@sh tests/tools/bootstrap.sh demo
	@$(DEMO) tests/lab/demo shell

.PHONY: bench
bench:
	@sh tests/tools/bootstrap.sh demo
	@$(DEMO) -m pip install --quiet 'psycopg[binary]>=3.1'
	@$(DEMO) tests/bench $(BENCH)

.PHONY: test
test:
	@sh tests/tools/bootstrap.sh test
	@$(CHECKS) test

.PHONY: lint
lint:
	@sh tests/tools/bootstrap.sh lint
	@$(CHECKS) lint

.PHONY: unit integration
unit integration:
	@sh tests/tools/bootstrap.sh test
	@$(CHECKS) $@

.PHONY: check-all
check-all:
	@sh tests/tools/bootstrap.sh all
	@$(CHECKS) test rest

.PHONY: check-rest
check-rest:
	@sh tests/tools/bootstrap.sh all
	@$(CHECKS) rest

.PHONY: docs
docs:
	@sh tests/tools/bootstrap.sh lint
	@$(CHECKS) site

.PHONY: mutation
mutation:
	@sh tests/tools/bootstrap.sh lint
	@.build/venv/bin/nox -s mutation

.PHONY: clean
clean:
	rm -rf .build demo
