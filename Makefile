# `make` lists what there is. `make demo` and `make test` install what they need on a Debian machine with Rust.
SHELL := /bin/bash
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: postgres ## the platform on its own database; prints the dashboard's address
	@cargo build --locked --quiet --release
	@target/release/valerix demo $(ARGS)

demo-gremlin: postgres ## the checklist and each kind of fault, told step by step; on the running platform, or its own
	@cargo build --locked --quiet --release
	@target/release/valerix gremlin tour

test: postgres pgbouncer prometheus chromium haproxy schemathesis lint deny kubernetes ## everything
	cargo test --locked

prove: postgres ## chaos campaigns on three seeds: 5,000 orders, 100 kills, 5 database restarts each; fails unless all prove
	@cargo build --locked --quiet --release
	@for seed in $${SEEDS:-11 12 13}; do \
	  target/release/valerix prove --seed $$seed --orders 5000 --kills 100 --database-restarts 5 || exit $$?; \
	done

soak: postgres ## SOAK_MINUTES (60) of load and faults; fails when memory, descriptors, tasks or connections grow
	@cargo build --locked --quiet --release
	@target/release/valerix soak --minutes $${SOAK_MINUTES:-60} $(ARGS)

# The program is the release's own; what measures it needs no optimising, and shares its build with the tests.
bench: postgres bench-tools ## orders per second beside pgbench, latency, memory, processor time
	@cargo build --locked --quiet --release
	@cargo bench --locked --quiet --profile dev --bench orders -- \
	  --program "$${CARGO_TARGET_DIR:-$$PWD/target}/release/valerix" $(ARGS)

bench-growth: ## the same against clients, products and stored orders, and how a backlog drains
	@$(MAKE) --no-print-directory bench ARGS="--growth --backlog $(ARGS)"

microbench: ## the pure hot parts, each by itself
	cargo bench --locked --bench micro -- $(ARGS)

failover-drill: postgres drill-tools ## lose the database's primary under load: three nodes with Patroni and etcd, nothing left behind
	@cargo build --locked --quiet --release
	@drills/failover.py --program "$${CARGO_TARGET_DIR:-target}/release/valerix" $(ARGS)

restore-drill: postgres drill-tools ## lose the database with its disk under load, and restore it with pgBackRest, also to a chosen moment
	@cargo build --locked --quiet --release
	@drills/restore.py --program "$${CARGO_TARGET_DIR:-target}/release/valerix" $(ARGS)

drill-tools: # Patroni, etcd and pgBackRest
	@scripts/install-drills

lint: ## formatting and clippy
	cargo fmt --check
	cargo clippy --locked --all-targets --quiet -- --deny warnings

deny: # licences, bans and sources of all dependencies
	@command -v cargo-deny >/dev/null || test -x target/tools/bin/cargo-deny \
	  || cargo install --quiet --locked --no-default-features --root target/tools cargo-deny
	@PATH="$$PWD/target/tools/bin:$$PATH" cargo deny --locked --log-level error check bans licenses sources

# Without a sanitizer the usual compiler will do; unsafe code, which one would watch, is forbidden here anyway. What it
# finds is kept in fuzz/artifacts. `make test` tries the same properties, on less input.
FUZZ = PATH="$$PWD/target/tools/bin:$$PATH" cargo fuzz run --sanitizer none
fuzz: fuzz-tools ## the parsers that are ours, SECONDS_EACH (60), on input that learns from coverage
	@for target in $(TARGETS); do \
	  $(FUZZ) $$target -- -max_total_time=$${SECONDS_EACH:-60} || exit 1; \
	done
TARGETS ?= cursor gremlin_rule idempotency_key otlp_endpoint

fuzz-tools: # cargo-fuzz
	@test -x target/tools/bin/cargo-fuzz || cargo install --quiet --locked --version 0.13.2 --root target/tools cargo-fuzz

sbom: ## what the program is made of, as CycloneDX: target/sbom.json
	@test -x target/tools/bin/cargo-cyclonedx \
	  || cargo install --quiet --locked --version 0.5.9 --root target/tools cargo-cyclonedx
	@cargo metadata --locked --format-version 1 >/dev/null # refuses a lock file that does not fit
	@PATH="$$PWD/target/tools/bin:$$PATH" cargo cyclonedx --quiet --format json --override-filename sbom
	@mkdir -p target && mv sbom.json target/sbom.json && echo target/sbom.json

kubernetes: ## deploy/kubernetes, against Kubernetes' schemas and rules of our own
	@scripts/check-kubernetes

kubernetes-rules: # the alert rules for the Prometheus operator, made from those that Prometheus reads
	@scripts/check-kubernetes --write-rules

fmt: ## format the code
	cargo fmt

# `latest` for docker-compose.yml, the version for Kubernetes, where a tag must not change its meaning.
VERSION = $(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
image: ## the container image
	docker build --tag valerix --tag valerix:$(VERSION) .

# The services first: what shows them must not keep them from starting. Containers run as other users, who cannot read a
# checkout that was made under umask 077.
up: ## the platform in containers
	@chmod -R a+rX infra grafana
	docker compose up --build --detach --wait order-service
	@docker compose up --detach --wait || echo "The platform runs, but something that shows it does not:" \
	  "'docker compose ps --all' says what. A port that is taken has a variable (README.md, In containers)."

down: ## stop the containers; their data stay
	docker compose down

postgres: # PostgreSQL's server programs; a cluster of Debian's own is not made
	@scripts/install-postgres

pgbouncer: # a pooler for the tests
	@scripts/install-pgbouncer

prometheus: # promtool and prometheus, which the tests run
	@scripts/install-prometheus

chromium: # the browser in which the tests use the dashboard
	@scripts/install-chromium

haproxy: # the load balancer that the tests put in front of replicas
	@scripts/install-haproxy

schemathesis: # into target/tools
	@scripts/install-schemathesis

bench-tools: # wrk and pgbench
	@scripts/install-bench

.PHONY: failover-drill restore-drill drill-tools kubernetes kubernetes-rules fuzz fuzz-tools sbom bench bench-growth bench-tools microbench chromium haproxy schemathesis prometheus pgbouncer deny help demo \
  demo-gremlin test prove soak lint fmt image up down postgres
