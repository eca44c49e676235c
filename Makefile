# `make build` builds into .venv: .venv/bin/pyrunc is the runtime. `make install` puts it into the system.

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=

# A versioned Go of Debian is not on PATH.
export PATH := $(PATH)$(patsubst %,:%,$(firstword $(wildcard /usr/local/go/bin /usr/lib/go-*/bin)))
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check

SOURCES := setup.py pyproject.toml $(shell find csrc pyrunc -type f \
	\( -name '*.[ch]' -o -name '*.py' -o -name '*.json' \) ! -path pyrunc/spec/_check.py)

.PHONY: build install uninstall release lint format test engines-matrix conformance torture fuzz bench bench-engines docs vm-test demo clean

# --- build ------------------------------------------------------------------------------------------------------

build: $(VENV)/.stamp-package

# Debian's packages of one group (build, demo, lint, test, conformance).
build/.stamp-system-%: scripts/install-deps
	scripts/install-deps $*
	mkdir -p $(@D) && touch $@

$(VENV)/.stamp-venv: | build/.stamp-system-build
	$(PYTHON) -m venv $(VENV)
	touch $@

# The Python packages that building, running and testing need, as pyproject.toml names them.
$(VENV)/.stamp-requirements: pyproject.toml $(VENV)/.stamp-venv
	$(VENV)/bin/python -c "import tomllib; t = tomllib.load(open('pyproject.toml', 'rb')); p = t['project']; \
		print(*t['build-system']['requires'], *p['dependencies'], *sum(p['optional-dependencies'].values(), []), \
		sep='\n')" > $(VENV)/requirements.txt
	$(PIP) install --quiet -r $(VENV)/requirements.txt
	touch $@

$(VENV)/.stamp-package: $(SOURCES) build/.stamp-system-build $(VENV)/.stamp-requirements
	$(PIP) install --quiet --no-build-isolation --no-deps --force-reinstall .
	touch $@

# --- install ----------------------------------------------------------------------------------------------------

LIBDIR := $(DESTDIR)$(PREFIX)/lib/pyrunc
BINDIR := $(DESTDIR)$(PREFIX)/bin
MANDIR := $(DESTDIR)$(PREFIX)/share/man/man8
SHAREDIR := $(DESTDIR)$(PREFIX)/share
# Where bash, zsh and fish look for what completes command lines.
COMPLETIONS := $(SHAREDIR)/bash-completion/completions/pyrunc $(SHAREDIR)/zsh/site-functions/_pyrunc \
	$(SHAREDIR)/fish/vendor_completions.d/pyrunc.fish
MANPAGES = $(wildcard docs/man/*.8)

# A tree of its own, with all that the package depends on: nothing of it can be shadowed by, or shadow, other packages.
install: build
	rm -rf build/stage
	$(PIP) install --quiet --no-build-isolation --no-compile --target build/stage .
	mkdir -p $(BINDIR) $(dir $(LIBDIR))
	rm -rf $(LIBDIR)
	cp -R build/stage $(LIBDIR)
	rm -rf $(LIBDIR)/bin
	$(VENV)/bin/python -m compileall -q -s $(LIBDIR) -p $(PREFIX)/lib/pyrunc $(LIBDIR)
	install -m 0755 build/stage/bin/pyrunc $(BINDIR)/pyrunc
	$(if $(MANPAGES),install -D -m 0644 -t $(MANDIR) $(MANPAGES))
	install -d $(dir $(COMPLETIONS))
	for place in $(COMPLETIONS); do \
		case $$place in *.fish) shell=fish ;; *_pyrunc) shell=zsh ;; *) shell=bash ;; esac; \
		$(VENV)/bin/pyrunc completion $$shell >$$place && chmod 0644 $$place || exit 1; \
	done

uninstall:
	rm -rf $(LIBDIR)
	rm -f $(COMPLETIONS)
	rm -f $(BINDIR)/pyrunc $(MANDIR)/pyrunc.8 $(MANDIR)/pyrunc-*.8

# What is released, with its SBOM, in dist/: see docs/release.md.
release: build
	$(VENV)/bin/python -W ignore scripts/release.py

# --- checks -----------------------------------------------------------------------------------------------------

lint: build build/.stamp-system-lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy scripts/demo.py
	$(VENV)/bin/mypy scripts/release.py
	clang-format --dry-run -Werror $(shell find csrc bench -name '*.[ch]')
	$(VENV)/bin/python setup.py -q analyze

format:
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .
	clang-format -i $(shell find csrc bench -name '*.[ch]')

# --- tests ------------------------------------------------------------------------------------------------------

# A CRIU that works on this kernel; without one, the tests of checkpoints are skipped.
build/.stamp-criu: scripts/install-criu | build/.stamp-system-test
	scripts/install-criu build/criu && touch $@ || true

# crictl and critest; without them, the tests of the CRI are skipped.
build/.stamp-cri-tools: scripts/install-cri-tools | build/.stamp-system-conformance
	scripts/install-cri-tools build/cri-tools && touch $@ || true

# TESTS="tests/unit -k seccomp" narrows it down.
test: build build/.stamp-system-test build/.stamp-system-fuzz build/.stamp-system-conformance build/.stamp-criu \
		build/.stamp-cri-tools
	$(VENV)/bin/pytest $(TESTS)

# docs/engines.md, from what the tests of engines find with pyrunc and with runc; TESTS= narrows it down.
engines-matrix: build build/.stamp-system-test build/.stamp-criu build/.stamp-cri-tools
	PYTHONPATH=tests $(VENV)/bin/python -m helpers.engine_matrix $(TESTS)

# The long forms of what tries to break it, with the counts at the end: escapes and races for thousands of rounds
# (where runc must be seen to lose them), every fault at every system call, hundreds of containers at once.
torture: build build/.stamp-system-test
	PYTHONPATH=tests $(VENV)/bin/python -m torture

# All fuzzers together for MINUTES; what breaks something is written to build/fuzz.
MINUTES ?= 5
fuzz: build build/.stamp-system-test build/.stamp-system-fuzz
	PYTHONPATH=tests $(VENV)/bin/python -m fuzz --minutes $(MINUTES)

# Every validation program of runtime-tools, side by side with Debian's runc.
conformance: build build/.stamp-system-test build/.stamp-system-conformance
	$(VENV)/bin/python -m conformance.run

# The documentation site, in build/docs. A warning is an error. It is built elsewhere than here, as it documents the
# package that is installed, not the one in this directory.
docs: build
	cd build && ../$(VENV)/bin/python -P -m sphinx -q -W --keep-going -b html ../docs docs

# Side by side with runc, crun and the bare kernel. BENCH="run docker" narrows it down. docs/bench has the figures that
# README shows: BENCH="--output docs/bench" takes them anew.
BENCH ?= --output build/bench
bench: build build/.stamp-system-test
	PYTHONPATH=.:tests $(VENV)/bin/python -P -m bench $(BENCH)

# By way of Docker, containerd and the CRI.
bench-engines: build build/.stamp-system-test build/.stamp-cri-tools
	PYTHONPATH=.:tests $(VENV)/bin/python -P -m bench.engines

# On a system with pure cgroup v2, systemd and AppArmor, in a virtual machine: docs/vm.md. KERNEL= chooses another
# kernel, VM= gives further arguments, as "--session root tests/integration/test_lifecycle.py".
KERNEL ?= 6.1
vm-test: build build/.stamp-system-vm build/.stamp-cri-tools
	PYTHONPATH=tests $(VENV)/bin/python -m vm --kernel $(KERNEL) $(VM)

demo: build build/.stamp-system-demo
	$(VENV)/bin/python scripts/demo.py

clean:
	rm -rf build dist $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f pyrunc/spec/_check.py
	find pyrunc tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
