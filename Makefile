# Two commands do everything: `make sandbox` and `make test`. The rest is listed by `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The distribution's Python is built with profiles and runs Ansible in a fifth less time than one that pyenv compiles.
PYTHON ?= $(shell for python in /usr/bin/python3 python3; do \
  "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; done; echo "$$python")
SANDBOX := /var/lib/iot-receiver-sandbox/supervisor/control
KUBECTL = /var/cache/iot-receiver-sandbox/bin/current/kubectl --kubeconfig /var/lib/iot-receiver-sandbox/kubeconfig -n apps
TRY := build/venv/try/bin/ansible-playbook -i inventory/try
TRY_DOWN := $(TRY) playbooks/try_down.yml
OWNER := /var/lib/iot-receiver-sandbox/owner
# A shell's or an outer virtual environment's settings must not reach ours. Without byte code on disk each run
# compiles Ansible's modules anew, which costs minutes.
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV PYTHONHOME PYTHONPATH ANSIBLE_CONFIG ANSIBLE_INVENTORY ANSIBLE_ROLES_PATH
# Installs into the environment that follows it, in a seventh of the processor time that pip takes, from where pip would.
UV = UV_SYSTEM_CERTS=true UV_DEFAULT_INDEX="$${PIP_INDEX_URL:-$$(build/venv/uv/bin/pip config get global.index-url 2>/dev/null || true)}" \
  build/venv/uv/bin/uv pip install --quiet --python
# A fifth less of Terraform's processor time for two fifths more of memory: Go collects garbage less often.
export GOGC ?= 400
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/installed ## install ansible and what the playbooks need into .venv

.PHONY: sandbox
sandbox: root setup ## deploy everything on this machine and send readings through it
	@ansible-playbook site.yml

.PHONY: sandbox-down
sandbox-down: root setup ## stop the sandbox and leave nothing of it behind
	@ansible-playbook playbooks/sandbox_down.yml

.PHONY: sandbox-status
sandbox-status: some-sandbox-is-up ## show the sandbox's parts
	@$(SANDBOX) status || test $$? -eq 3

.PHONY: sandbox-logs
sandbox-logs: some-sandbox-is-up ## follow a part's log: make sandbox-logs PART=aws
	@test -n '$(PART)' || { echo 'Which part? make sandbox-logs PART=aws; make sandbox-status lists them'; exit 1; }
	@$(SANDBOX) tail -f $(PART)

.PHONY: readings
readings: sandbox-is-up ## show the sandbox's readings at http://127.0.0.1:8090/ until Ctrl-C
	@$(KUBECTL) get service iot-readings >/dev/null 2>&1 \
	  || { echo 'Readings are not deployed: ansible-playbook site.yml --tags readings, then make readings again'; exit 1; }
	@echo 'Readings: http://127.0.0.1:8090/ (Ctrl-C ends it)'
	@$(KUBECTL) port-forward service/iot-readings 8090:80 >/dev/null

.PHONY: try
try: build/venv/try/programs ## show readings of two simulated devices on a page, without Kubernetes, until Ctrl-C
	@trap 'trap "" INT TERM; $(TRY_DOWN)' EXIT; trap 'exit 130' INT TERM; \
	$(TRY) playbooks/try.yml; \
	echo 'Ctrl-C or make try-down ends it'; \
	while [ -e build/try/supervisor/supervisord.pid ]; do sleep 1; done

.PHONY: try-down
try-down: build/venv/try/programs ## end what make try started and leave nothing of it behind
	@$(TRY_DOWN)

.PHONY: test
test: root python ## check, test, deploy to a sandbox of its own, and count
	@$(PYTHON) -m tests.run

.PHONY: soak
soak: sandbox-is-up build/venv/sandbox-test/installed ## put a sandbox that is up through outages, power cuts and faults, an hour and more
	@build/venv/sandbox-test/bin/python -m pytest -v tests/soak

.PHONY: torn-down
torn-down: root sandbox-is-up build/venv/sandbox-test/installed ## take a sandbox's deployment down, look for what is left, and make it anew
	@build/venv/sandbox-test/bin/python -m pytest -v tests/torn_down

.PHONY: unit
unit: python ## run tests without a sandbox: make unit PART=service, make unit T="tests/service/test_ingest.py -k secret"
	@$(PYTHON) -m tests.run --only unit $(if $(PART),--part '$(PART)') $(if $(T),--tests '$(T)')

.PHONY: molecule
molecule: root role sandbox-is-up setup ## run a role's scenario in the sandbox: make molecule ROLE=receiver
	@cd roles/$(ROLE) && molecule test

.PHONY: lint
lint: python ## check style and types
	@$(PYTHON) -m tests.run --only lint

.PHONY: fmt
fmt: setup ## sort imports, fix what ruff can fix, and format Terraform's files
	@ruff check --fix --exit-zero --quiet .
	@terraform fmt -recursive terraform

.PHONY: bench
bench: build/venv/service-test/installed build/venv/benchmark/installed ## measure the receiver beside the stack it replaces
	@build/venv/service-test/bin/python -m tests.benchmarks.bench

.PHONY: bench-readings
bench-readings: build/venv/service-test/installed ## measure the page and its API over 1,000,000 rows
	@PYTHONPATH=service build/venv/service-test/bin/python -m tests.readings.figures

.PHONY: docs
docs: setup ## write the generated parts of the READMEs
	@python -m tests.docs --write

.PHONY: lock
lock: ## resolve requirements/*.in again
	@requirements/lock

# A venv counts as made once its marker is there: interrupted installs are made again from nothing.
# The current ansible needs Python 3.12; the last one for 3.11 has a lock of its own.
CONTROLLER := requirements/controller$(shell $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo -3.12).txt

.venv/installed: $(CONTROLLER) | python build/venv/uv/installed
	@$(call make_venv,.venv,$<,$(UV) .venv)

build/venv/%/installed: requirements/%.txt | python build/venv/uv/installed
	@$(call make_venv,build/venv/$*,$<,$(UV) build/venv/$*)

build/venv/uv/installed: requirements/uv.txt | python
	@$(call make_venv,build/venv/uv,$<,build/venv/uv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check)

# The one environment of `make try`, whose packages are built from copies, as building leaves files beside the sources.
build/venv/try/installed: requirements/try.txt build/venv/uv/installed
	@echo 'Installing $< into build/venv/try'; \
	$(PYTHON) -m venv --clear --without-pip build/venv/try; \
	$(call add_hooks,build/venv/try); \
	$(UV) build/venv/try --require-hashes -r $<; \
	touch $@

TRY_PACKAGES := sandbox service device
build/venv/try/programs: build/venv/try/installed $(shell find sandbox/iot_sandbox service device -name build -prune -o -type f ! -name '*.pyc' -print)
	@rm -rf build/venv/try/sources; mkdir build/venv/try/sources; cp -r $(TRY_PACKAGES) build/venv/try/sources; \
	$(UV) build/venv/try --no-deps --no-build-isolation $(TRY_PACKAGES:%=build/venv/try/sources/%); \
	rm -r build/venv/try/sources; \
	touch $@

# Said before minutes go by with what root is not needed for.
.PHONY: root
root:
	@test "$$(id -u)" -eq 0 || { echo "The sandbox makes namespaces and containers and so needs root: sudo -E make $(MAKECMDGOALS)"; exit 1; }

.PHONY: some-sandbox-is-up
some-sandbox-is-up:
	@$(SANDBOX) pid >/dev/null 2>&1 || { echo 'No sandbox is up: make sandbox, then make $(MAKECMDGOALS)$(if $(ROLE), ROLE=$(ROLE))$(if $(PART), PART=$(PART)) again'; exit 1; }

.PHONY: sandbox-is-up
sandbox-is-up: some-sandbox-is-up
	@test "$$(cat $(OWNER))" = '$(CURDIR)' || { echo "The sandbox that is up was started from $$(cat $(OWNER)): run this there"; exit 1; }

.PHONY: role
role:
	@test -n '$(ROLE)' -a -d 'roles/$(ROLE)/molecule' || { echo "Which role? make molecule ROLE=one of: $$(cd roles; echo */molecule | sed 's,/molecule,,g')"; exit 1; }

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) was found: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { test "$$(id -u)" -eq 0 || { echo "$(PYTHON) cannot make environments: sudo apt-get install python3-venv, then make $(MAKECMDGOALS) again"; exit 1; }; \
	       echo "Installing Debian's python3-venv"; apt-get -qq update; apt-get -qq install -y python3-venv; }

define add_hooks
	site=$$($(1)/bin/python -c 'import site; print(site.getsitepackages()[0])'); \
	for hook in kept_bytecode module_client; do cp "requirements/$$hook.py" "$$site"; echo "import $$hook" > "$$site/$$hook.pth"; done
endef

define make_venv
	echo "Installing $(2) into $(1)"; \
	$(PYTHON) -m venv --clear $(1); \
	$(call add_hooks,$(1)); \
	$(3) --require-hashes -r $(2); \
	touch $(1)/installed
endef
