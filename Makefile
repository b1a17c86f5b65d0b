# Each target sets up what it needs: system packages (Debian, Ubuntu), a virtual environment, the build. Later runs are quick.
# For another interpreter or OpenSSL, after `make clean`:  PYTHON=python3.13 make test    TLSIO_OPENSSL=/prefix make test

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
ENGINE := src/tlsio/native/engine
SOURCES := setup.py pyproject.toml $(wildcard src/tlsio/native/*.p* $(ENGINE)/*.[ch])
WARNINGS := -std=gnu11 -O2 -Wall -Wextra -Wconversion -Werror
PYTEST := $(BIN)/python -m pytest

ifdef TLSIO_OPENSSL
OPENSSL_CFLAGS := -I$(TLSIO_OPENSSL)/include
OPENSSL_LIBDIR := $(firstword $(wildcard $(TLSIO_OPENSSL)/lib64 $(TLSIO_OPENSSL)/lib))
OPENSSL_LIBS := -L$(OPENSSL_LIBDIR) -Wl,-rpath,$(OPENSSL_LIBDIR) -lssl -lcrypto -ldl -pthread
else
OPENSSL_CFLAGS = $(shell pkg-config --cflags openssl)
OPENSSL_LIBS = $(shell pkg-config --libs openssl) -pthread
endif

.PHONY: run test test-slow check format sanitize thread-sanitize fuzz bench instructions docs cli-reference parity failures elsewhere soak wheels portable examples changelog dist coverage clean help
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

run: $(VENV)/built  ## serve a page that shows visitors their own connection
	@$(BIN)/python examples/your_connection.py

test: $(VENV)/built $(VENV)/peers  ## run the tests, except the slow ones
	@$(PYTEST) -n 2 -m "not slow"

test-slow: $(VENV)/built $(VENV)/slow_peers  ## run the slow tests
	@$(PYTEST) -n 2 -m slow

coverage: $(VENV)/built $(VENV)/slow_peers  ## run all tests, with line and branch coverage
	@$(PYTEST) -n 2 --cov --cov-report=term

check: $(VENV)/built  ## check format, lint, types, house rules, warnings of the C engine
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict src tests/typing
	$(PYTEST) -q tests/test_house.py
	@for file in $(ENGINE)/*.c; do \
	    echo "$(CC) $(WARNINGS) $$file"; \
	    $(CC) $(WARNINGS) $(OPENSSL_CFLAGS) -I$(ENGINE) -c -o /dev/null $$file || exit 1; \
	done

format: $(VENV)/built  ## rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

sanitize: build/sanitize/engine_test build/sanitize/pool  ## test the C engine under AddressSanitizer (with leaks) and UBSan
	@for test in $^; do \
	    ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1 \
	    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 $$test || exit 1; \
	done

# The tests replace libc's allocation and clock functions by failing ones and a clock of their own.
WRAPPED := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=clock_gettime,--wrap=timerfd_settime

HARNESS := tests/native/harness.c tests/native/world.c tests/native/chaos.c $(wildcard $(ENGINE)/*.c)
HEADERS := tests/native/harness.h tests/native/world.h $(wildcard $(ENGINE)/*.h)
SANITIZED := -std=gnu11 -g -O1 -fno-omit-frame-pointer -Wall -Wextra -I$(ENGINE)

build/sanitize/engine_test: $(wildcard tests/native/*_test.c) $(HARNESS) $(HEADERS) | $(VENV)/tools
	@mkdir -p $(@D)
	$(CC) $(SANITIZED) -fsanitize=address,undefined -fno-sanitize-recover=all \
	    $(OPENSSL_CFLAGS) $(filter %.c,$^) -o $@ $(WRAPPED) $(OPENSSL_LIBS)

thread-sanitize: build/sanitize/threads build/sanitize/pool_threads  ## test what threads share, under ThreadSanitizer
	@for test in $^; do $$test || exit 1; done

build/sanitize/threads: tests/native/threads.c $(HARNESS) $(HEADERS) | $(VENV)/tools
	@mkdir -p $(@D)
	$(CC) $(SANITIZED) -fsanitize=thread $(OPENSSL_CFLAGS) $(filter %.c,$^) -o $@ $(WRAPPED) $(OPENSSL_LIBS)

build/sanitize/pool: tests/native/pool.c $(HARNESS) $(HEADERS) | $(VENV)/tools
	@mkdir -p $(@D)
	$(CC) $(SANITIZED) -fsanitize=address,undefined -fno-sanitize-recover=all $(OPENSSL_CFLAGS) $(filter %.c,$^) -o $@ $(WRAPPED) $(OPENSSL_LIBS)

build/sanitize/pool_threads: tests/native/pool.c $(HARNESS) $(HEADERS) | $(VENV)/tools
	@mkdir -p $(@D)
	$(CC) $(SANITIZED) -fsanitize=thread $(OPENSSL_CFLAGS) $(filter %.c,$^) -o $@ $(WRAPPED) $(OPENSSL_LIBS)

fuzz: build/fuzz/fuzz  ## fuzz the engine for SECONDS=300 (needs clang and libclang-rt-dev)
	@mkdir -p build/fuzz/corpus
	$< -max_total_time=$(SECONDS) -max_len=400 -timeout=20 -artifact_prefix=build/fuzz/ build/fuzz/corpus

SECONDS := 300

build/fuzz/fuzz: tests/native/fuzz.c tests/native/quiet_test.c $(HARNESS) $(HEADERS) | $(VENV)/tools
	@mkdir -p $(@D)
	clang $(SANITIZED) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	    $(OPENSSL_CFLAGS) $(filter %.c,$^) -o $@ $(WRAPPED) $(OPENSSL_LIBS)

bench: $(VENV)/built  ## compare the speed with a C server on the same OpenSSL
	@command -v redis-server >/dev/null || command -v valkey-server >/dev/null || tools/install.sh redis-server
	@$(BIN)/python bench/run.py

MINUTES ?= 60
soak: $(VENV)/built $(VENV)/peers  ## an hour of mixed load, then a report of leaks and idle CPU use; MINUTES=15 for a shorter run, HANDSHAKE_THREADS=2 for servers with threads
	@$(BIN)/python bench/soak --minutes $(MINUTES) $(if $(HANDSHAKE_THREADS),--threads $(HANDSHAKE_THREADS))

instructions: build/bench/engine_count  ## count the engine's instructions for a handshake and an echo (needs valgrind)
	@python3 bench/instructions.py

build/bench/engine_count: bench/engine_count.c $(wildcard $(ENGINE)/*.[ch])
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) -g $(OPENSSL_CFLAGS) -I$(ENGINE) $(filter %.c,$^) -o $@ $(OPENSSL_LIBS)

build/bench/%: bench/%.c
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) $(OPENSSL_CFLAGS) $< -o $@ $(OPENSSL_LIBS)

examples: $(VENV)/built $(VENV)/peers  ## test every example
	@$(PYTEST) tests/examples

docs: $(VENV)/built  ## build the documentation in docs/_build
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build
	@echo "docs/_build/index.html"

parity: $(VENV)/tools  ## write docs/reference/node-parity.md from the marks in the tests
	@$(BIN)/python tools/node_parity.py

cli-reference: $(VENV)/built  ## write docs/reference/cli.md from the commands' --help
	@$(BIN)/python tools/cli_reference.py

failures: $(VENV)/built $(VENV)/slow_peers  ## write docs/explanation/failures.md: what other programs say of faulty servers
	@$(BIN)/python tools/failures.py

changelog: $(VENV)/tools  ## move the fragments of changes/ into CHANGELOG.md
	@$(BIN)/python tools/changelog.py

elsewhere: $(VENV)/tools  ## make run and make test on other systems (as root); SYSTEMS="trixie" for one, FRESH=1 for new installations
	@command -v debootstrap >/dev/null || tools/install.sh debootstrap
	@$(BIN)/python tools/elsewhere.py $(if $(FRESH),--fresh) $(SYSTEMS)

portable: $(VENV)/built  ## test the portable driver, on a build without epoll
	@rm -rf build/portable
	@TLSIO_PORTABLE=1 $(BIN)/python setup.py -q build --build-base build/portable
	@PYTHONPATH=$$(echo build/portable/lib.*) $(PYTEST) -n 2 -m "not slow" -k portable tests/connection

wheels: $(VENV)/tools  ## build wheels that bundle OpenSSL in dist/, and test them in separate systems (as root)
	@command -v debootstrap >/dev/null || tools/install.sh debootstrap
	@$(BIN)/pip install -q --disable-pip-version-check --group wheels
	@BIN=$(BIN) tools/wheels.sh dist $(TARGETS)

dist: $(VENV)/tools  ## build the sdist and a wheel in dist/
	@$(BIN)/python -m build -q .

clean:  ## remove everything that the targets made
	rm -rf $(VENV) build dist docs/_build src/*.egg-info src/tlsio/native/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/tools: pyproject.toml tools/prepare.sh
	@tools/prepare.sh $(VENV)
	@touch $@

# --no-build-isolation: the tools are already in the environment; an isolated build would download them each time.
$(VENV)/built: $(SOURCES) | $(VENV)/tools
	@echo "Building the extension (about a minute)"
	@$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e .
	@touch $@

# The programs that the tests connect to. A newer Node is installed with the tools.
$(VENV)/peers: Makefile | $(VENV)/tools
	@command -v node >/dev/null && command -v curl >/dev/null || tools/install.sh nodejs curl ca-certificates
	@command -v redis-server >/dev/null || command -v valkey-server >/dev/null || tools/install.sh redis-server
	@PATH=$$PATH:/usr/sbin command -v nginx >/dev/null || tools/install.sh nginx-light
	@PATH=$$PATH:/usr/sbin command -v named >/dev/null || tools/install.sh bind9
	@command -v certtool >/dev/null && command -v pk12util >/dev/null || tools/install.sh gnutls-bin libnss3-tools
	@(PATH=$$PATH:/usr/sbin; command -v slapd && command -v vsftpd) >/dev/null || tools/install.sh slapd vsftpd
	@command -v h2load >/dev/null || tools/install.sh nghttp2-client
	@command -v softhsm2-util >/dev/null || tools/install.sh softhsm2
	@tools/pebble.sh >/dev/null
	@touch $@

# Those of the slow tests alone: Java, browsers, a proxy, makers of load, and servers of mail, databases and chat.
$(VENV)/slow_peers: Makefile | $(VENV)/peers
	@command -v keytool >/dev/null || tools/install.sh default-jre-headless
	@command -v chromium >/dev/null || tools/install.sh chromium
	@command -v firefox-esr >/dev/null || tools/install.sh firefox-esr
	@command -v hey >/dev/null && command -v wrk >/dev/null || tools/install.sh hey wrk
	@PATH=$$PATH:/usr/sbin command -v haproxy >/dev/null || tools/install.sh haproxy
	@(PATH=$$PATH:/usr/sbin; for name in exim4 dovecot mariadbd prosody pg_lsclusters; do command -v $$name || exit 1; done) >/dev/null || \
	    tools/install.sh exim4-daemon-light dovecot-imapd dovecot-pop3d mariadb-server prosody postgresql
	@touch $@
