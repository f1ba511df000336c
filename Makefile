# `make` lists the targets. On Debian with Rust, `make demo` and `make test` install what else they
# need.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# POSTGRES_VERSION=17 (an example) uses that version, and not the newest one that is installed.
ifdef POSTGRES_VERSION
export POSTGRES_BIN_DIR := $(CURDIR)/target/tools/postgres-$(POSTGRES_VERSION)/bin
endif

TARGET_DIR = $${CARGO_TARGET_DIR:-target}
# Each message is followed by Cargo's own progress.
BUILD_DEMO = test -x $(TARGET_DIR)/demo/valerix \
  || echo "Building Valerix. The first build compiles about 300 crates, which takes minutes;" \
    "later ones compile only what has changed."; \
  cargo build --locked --profile demo

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Built without optimisation, to run sooner. Campaigns and benchmarks use the release build.
demo: rust postgres ## Run the platform on a private database, and print the dashboard's address
	@$(BUILD_DEMO)
	@$(TARGET_DIR)/demo/valerix demo $(ARGS)

bench bench-peers failover-drill observability-drill prove restore-drill soak: rust

# On the platform that runs at the default ports, or on one that it starts and stops.
demo-gremlin: rust postgres ## Run the guided tour: a slow service, then each kind of fault
	@$(BUILD_DEMO)
	@$(TARGET_DIR)/demo/valerix gremlin tour $(ARGS)

# It takes less than a minute when everything is built.
check: lint ## Run the quick checks: format, clippy, and the tests that need no database
	cargo test --locked --quiet --lib \
	  --test architecture --test ledger --test model --test parsers

TEST_TOOLS = postgres pgbouncer prometheus chromium axe haproxy schemathesis
# The tests of whole services mostly wait, so that one more than there are cores run at a time.
test: $(TEST_TOOLS) lint deny kubernetes ## Run all checks and tests but the long ones
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) + 1))} cargo test --locked

# Each campaign: 5,000 orders, 100 kills, 5 database restarts.
prove: postgres ## Run a chaos campaign for each of SEEDS (11 12 13); fail unless each is proved
	@scripts/build-release
	@for seed in $${SEEDS:-11 12 13}; do \
	  $(TARGET_DIR)/release/valerix prove --seed $$seed --orders 5000 --kills 100 \
	    --database-restarts 5 || exit $$?; \
	done

# It fails when memory, descriptors, threads, tasks or database sessions grow.
soak: postgres ## Run load and faults for SOAK_MINUTES (60); fail when the use of resources grows
	@scripts/build-release
	@$(TARGET_DIR)/release/valerix soak --minutes $${SOAK_MINUTES:-60} $(ARGS)

# The measured program is the release build. The benchmark itself needs no optimisation: it shares
# the build of the tests.
bench: postgres bench-tools ## Measure orders/s beside pgbench, latency, memory and processor time
	@scripts/build-release
	@cargo bench --locked --quiet --profile dev --bench orders -- \
	  --program "$${CARGO_TARGET_DIR:-$$PWD/target}/release/valerix" $(ARGS)

bench-growth: ## Measure with more clients, products and stored orders, and with a backlog
	@$(MAKE) --no-print-directory bench ARGS="--growth --backlog $(ARGS)"

# It removes all processes and data of its own, also when it is interrupted.
bench-peers: postgres bench-tools peer-tools ## Compare with Restate, DBOS and Go, under kills too
	@scripts/build-release
	@benches/peers/compare.py --program "$${CARGO_TARGET_DIR:-target}/release/valerix" $(ARGS)

peer-tools: ## Install Restate and DBOS into target/tools, and build the Go services
	@scripts/install-peers

# For `make bench`, `prove`, `soak` and the drills. The image is built without a profile.
profile: rust postgres bench-tools ## Record which code is used, for faster release builds
	@scripts/record-profile

microbench: ## Measure the pure code of the hot path, part by part
	cargo bench --locked --bench micro -- $(ARGS)

# On three nodes with Patroni and etcd, all on this machine. The drill removes what it made.
failover-drill: postgres drill-tools ## Lose the primary of the database under load
	@scripts/build-release
	@drills/failover.py --program "$${CARGO_TARGET_DIR:-target}/release/valerix" $(ARGS)

# It restores with pgBackRest, also to a chosen point in time.
restore-drill: postgres drill-tools ## Lose the database and its disk under load, and restore it
	@scripts/build-release
	@drills/restore.py --program "$${CARGO_TARGET_DIR:-target}/release/valerix" $(ARGS)

# The collector, Jaeger, Loki and Promtail have no package in Debian: the drill takes them from the
# PATH or from variables (drills/observability.py --help), and skips what is missing.
observability-drill: postgres prometheus ## Follow orders to Jaeger, Prometheus and Loki
	@scripts/build-release
	@drills/observability.py --program "$${CARGO_TARGET_DIR:-target}/release/valerix" $(ARGS)

drill-tools: ## Install Patroni, etcd and pgBackRest
	@scripts/install-drills

lint: rust ## Check the format and run clippy
	cargo fmt --check
	cargo clippy --locked --all-targets --quiet -- --deny warnings

deny: cargo-deny ## Check licences, bans and sources of all dependencies
	@$(CARGO_DENY) check bans licenses sources

advisories: cargo-deny ## Check all dependencies for known vulnerabilities; needs the network
	@$(CARGO_DENY) check advisories

CARGO_DENY = PATH="$$PWD/target/tools/bin:$$PATH" cargo deny --locked --log-level error
cargo-deny: ## Install cargo-deny, unless the machine has it
	@command -v cargo-deny >/dev/null || test -x target/tools/bin/cargo-deny \
	  || cargo install --quiet --locked --no-default-features --root target/tools cargo-deny

# Without a sanitizer the stable compiler is enough. A sanitizer would watch unsafe code, which this
# crate forbids. Inputs that fail are kept in fuzz/artifacts. `make test` checks the same properties
# on less input.
FUZZ = PATH="$$PWD/target/tools/bin:$$PATH" cargo fuzz run --sanitizer none
fuzz: fuzz-tools ## Fuzz the parsers of TARGETS, guided by coverage, for SECONDS_EACH (60)
	@for target in $(TARGETS); do \
	  $(FUZZ) $$target -- -max_total_time=$${SECONDS_EACH:-60} || exit 1; \
	done
TARGETS ?= cursor gremlin_rule idempotency_key otlp_endpoint

fuzz-tools: ## Install cargo-fuzz
	@test -x target/tools/bin/cargo-fuzz \
	  || cargo install --quiet --locked --version 0.13.2 --root target/tools cargo-fuzz

# The file is the same for each checkout of a commit.
sbom: ## Write the bill of materials (CycloneDX) to target/sbom.json
	@test -x target/tools/bin/cargo-cyclonedx \
	  || cargo install --quiet --locked --version 0.5.9 --root target/tools cargo-cyclonedx
	@cargo metadata --locked --format-version 1 >/dev/null # fails if Cargo.lock is out of date
	@SOURCE_DATE_EPOCH=$(COMMIT_TIME) PATH="$$PWD/target/tools/bin:$$PATH" \
	  cargo cyclonedx --quiet --format json --override-filename sbom
	@mkdir -p target && sed "s|file://$$PWD#|file:///build#|g" sbom.json >target/sbom.json \
	  && rm sbom.json && echo target/sbom.json

kubernetes: ## Check deploy/kubernetes against the schemas and this project's policies
	@scripts/check-kubernetes

# It fails at once, and names the program, if one is missing: docs/kubernetes.md.
kubernetes-drill: ## Apply deploy/kubernetes to an API server with etcd, on this machine
	@scripts/install-kubernetes
	@target/tools/kubernetes/bin/python -B drills/kubernetes.py $(ARGS)

kubernetes-rules: ## Generate the Prometheus operator's rules from infra/prometheus/rules
	@scripts/check-kubernetes --write-rules

fmt: ## Format the code
	cargo fmt

# docker-compose.yml uses the tag `latest`. Kubernetes uses the version, because there a tag must
# always mean the same image.
VERSION = $(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
COMMIT_TIME = $(or $(shell git log -1 --format=%ct 2>/dev/null),$(shell date +%s))
REVISION = $(shell git describe --always --abbrev=40 --dirty --exclude '*')
# SOURCE_URL, if it is set, is the address of the repository.
IMAGE_LABELS = --label org.opencontainers.image.version=$(VERSION) \
  --label org.opencontainers.image.revision=$(REVISION) \
  $(if $(SOURCE_URL),--label org.opencontainers.image.source=$(SOURCE_URL))
image: ## Build the container image
	docker build $(IMAGE_LABELS) --tag valerix --tag valerix:$(VERSION) .

# It needs BuildKit 0.13 or newer, with a builder that can set the times of files in layers.
image-archive: ## Build target/image.tar for docker load: the same file each time
	@mkdir -p target
	SOURCE_DATE_EPOCH=$(COMMIT_TIME) docker buildx build --no-cache \
	  --provenance=false --metadata-file target/image.json --tag valerix:$(VERSION) \
	  $(IMAGE_LABELS) $(ARGS) \
	  --output type=docker,dest=target/image.tar,rewrite-timestamp=true .
	@sed -n 's/.*"containerimage.digest": "\(.*\)".*/\1/p' target/image.json
	@sha256sum target/image.tar

up: ## Run the platform in containers
	@scripts/start-containers

down: ## Stop the containers, and keep their data
	docker compose down

# It says what to install if one of them is missing.
rust: ## Check that Rust and a C compiler are installed
	@scripts/check-rust

# Debian's package would also create a cluster; the script prevents that.
postgres: ## Install PostgreSQL's server programs
	@scripts/install-postgres $(POSTGRES_VERSION)

pgbouncer: ## Install PgBouncer, which the tests run
	@scripts/install-pgbouncer

prometheus: ## Install Prometheus and promtool, which the tests run
	@scripts/install-prometheus

chromium: ## Install Chromium, in which the tests use the dashboard
	@scripts/install-chromium

axe: ## Install axe-core into target/tools, which checks the accessibility of the dashboard
	@scripts/install-axe

haproxy: ## Install HAProxy, which the tests put in front of replicas
	@scripts/install-haproxy

schemathesis: ## Install Schemathesis into target/tools
	@scripts/install-schemathesis

bench-tools: ## Install wrk and pgbench
	@scripts/install-bench

.PHONY: advisories axe bench bench-growth bench-peers bench-tools cargo-deny check chromium demo \
  demo-gremlin deny down drill-tools failover-drill fmt fuzz fuzz-tools haproxy help image \
  image-archive kubernetes kubernetes-drill kubernetes-rules lint microbench observability-drill \
  peer-tools pgbouncer postgres profile prometheus prove restore-drill rust sbom schemathesis \
  soak test up
