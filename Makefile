# nrprobe. `make` lists what there is.
SHELL       := /bin/sh
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X main.version=$(VERSION)
GOBUILD     := CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)"
# Real servers and tools that tests need are built once into this folder, outside the checkout.
CACHE       ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/nrprobe
TOOLS       := $(CACHE)/bin
INFLUXD     := $(TOOLS)/influxd-1.8.10
PROMETHEUS  := $(TOOLS)/prometheus-0.316.0
GOLANGCI    := $(TOOLS)/golangci-lint-2.15.0
JUNIT       := $(CACHE)/junit-parsers-1
FUZZTIME    ?= 30s

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## run the demo: reflector, emulated 5G link, agents and collector in one process
	./nrprobe demo

.PHONY: build
build: ## build ./nrprobe for this machine
	$(GOBUILD) -o nrprobe .

.PHONY: test
test: ## run the tests (fuzz corpora included); needs neither root nor a server
	go test -shuffle=on -timeout 30m ./...

.PHONY: race
race: ## run the tests under the race detector
	go test -race -shuffle=on -timeout 30m ./...

.PHONY: test-net
test-net: build ## run both sides in two network namespaces joined by a veth pair (root)
	NRPROBE_BINARY=$(CURDIR)/nrprobe go test -count=1 -tags netns -timeout 20m -run 'TestNetns' ./configs/e2e/

.PHONY: test-integration
test-integration: build $(INFLUXD) $(PROMETHEUS) $(JUNIT) ## test against a real InfluxDB and Prometheus and other people's JUnit parsers
	NRPROBE_BINARY=$(CURDIR)/nrprobe NRPROBE_INFLUXD=$(INFLUXD) NRPROBE_PROMETHEUS=$(PROMETHEUS) NRPROBE_JUNIT_PARSERS=$(JUNIT) \
	go test -count=1 -tags integration -timeout 15m ./configs/e2e/
	mkdir -p dist && go test -count=1 -artifacts -outputdir $(CURDIR)/dist -run TestPageInABrowser ./probes/survey/

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s)
	@set -e; for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
	  done; done

.PHONY: bench-latency
bench-latency: build ## print round-trip times beside irtt, ping, fping and sockperf over a veth pair (root)
	NRPROBE_BINARY=$(CURDIR)/nrprobe go test -count=1 -tags bench -timeout 30m -run TestBenchLatency -v ./configs/e2e/ | grep -v -e '^=== ' -e '^--- '

.PHONY: bench-throughput
bench-throughput: build ## print TCP, QUIC and UDP rates and their cost beside iperf3 and bare quic-go over a veth pair (root)
	NRPROBE_BINARY=$(CURDIR)/nrprobe go test -count=1 -tags bench -timeout 30m -run TestBenchThroughput -v ./configs/e2e/ | grep -v -e '^=== ' -e '^--- '

.PHONY: bench-reflector
bench-reflector: build ## print packets answered per second on one core beside irtt and a plain echo, and memory with 2,000 sessions (root)
	NRPROBE_BINARY=$(CURDIR)/nrprobe go test -count=1 -tags bench -timeout 10m -run TestBenchReflector -v ./configs/e2e/ | grep -v -e '^=== ' -e '^--- '

.PHONY: bench-accuracy
bench-accuracy: build ## hold rates and added delay against shaped links of 10 to 1000 Mbit/s (root, a quiet machine)
	NRPROBE_BINARY=$(CURDIR)/nrprobe go test -count=1 -tags netns -run 'Accuracy|AddedDelay' -v ./configs/e2e/ | grep -v -e '^=== '

.PHONY: bench-early-stop
bench-early-stop: ## print what an early stop of throughput saves and costs on recorded 5G rates (NRPROBE_DATA)
	go test -count=1 -run TestEarlyStop -v ./probes/throughput/ | grep -v -e '^=== ' -e '^--- '

# How long make soak lasts.
SOAK        ?= 10m

.PHONY: soak
soak: build ## send a reflector noise, replays and forged sources for SOAK (10m); nobody may get more than it sent (root)
	NRPROBE_BINARY=$(CURDIR)/nrprobe SOAK=$(SOAK) go test -count=1 -tags bench -timeout 24h -run TestSoak -v ./configs/e2e/ | grep -v -e '^=== '

.PHONY: bench-gate
bench-gate: ## measure false alarms and power of nrprobe check and write the tables into the README
	@mkdir -p dist
	NRPROBE_BENCH_GATE=$(CURDIR)/dist/gate.md go test -count=1 -timeout 30m -run TestBenchGate -v ./probes/budget/
	awk -v tables=dist/gate.md '/^<!-- gate -->/ {print; while ((getline line < tables) > 0) print line; skip = 1} \
	  /^<!-- \/gate -->/ {skip = 0} !skip' README.md > dist/README.md && mv dist/README.md README.md

.PHONY: test-gate
test-gate: ## hold nrprobe check to its error rates in some hundred runs; bench-gate measures them
	NRPROBE_GATE_RUNS=200 go test -count=1 -run TestGateKeepsItsErrorRates ./probes/budget/

.PHONY: lint
lint: $(GOLANGCI) ## vet, lint, formatting
	go vet ./...
	go vet -tags 'integration netns bench' ./configs/e2e/
	go vet -tags edge ./configs/... .
	$(GOLANGCI) run ./...

.PHONY: golden
golden: ## rewrite the golden files and the generated parts of the README
	go test ./... -run 'Golden|Generated|Readme' -update

.PHONY: dashboards
dashboards: ## generate the Grafana dashboards from their source (needs Node)
	cd dashboards && npm ci --no-audit --no-fund --silent && npm run --silent generate

# What an agent runs on. The store and its page stay out of the edge builds.
EDGE_TARGETS := linux/amd64 linux/arm64 linux/arm/7 linux/mips/softfloat linux/mipsle/softfloat android/arm64
FULL_TARGETS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

.PHONY: cross
cross: ## build for every platform without CGO and print the sizes
	@mkdir -p dist
	@set -e; for t in $(EDGE_TARGETS); do \
	  os=$$(echo $$t | cut -d/ -f1); arch=$$(echo $$t | cut -d/ -f2); var=$$(echo $$t | cut -d/ -f3); \
	  out=dist/nrprobe-edge-$$os-$$arch$${var:+-$$var}; \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch GOARM=$$([ $$arch = arm ] && echo $$var) GOMIPS=$$([ $$arch = mips ] || [ $$arch = mipsle ] && echo $$var) \
	    go build -tags edge -trimpath -ldflags "$(LDFLAGS)" -o $$out .; done
	@set -e; for t in $(FULL_TARGETS); do \
	  os=$${t%/*}; arch=$${t#*/}; \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags "$(LDFLAGS)" -o dist/nrprobe-$$os-$$arch .; done
	@cd dist && ls -l nrprobe-* | awk '{printf "%8.1f MiB  %s\n", $$5/1048576, $$NF}'

.PHONY: clean
clean: ## remove what was built here
	rm -rf nrprobe dist

$(INFLUXD):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) go install github.com/influxdata/influxdb/cmd/influxd@v1.8.10
	mv $(TOOLS)/influxd $@

$(PROMETHEUS):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) go install github.com/prometheus/prometheus/cmd/prometheus@v0.316.0
	mv $(TOOLS)/prometheus $@

$(GOLANGCI):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(TOOLS)/golangci-lint $@

$(JUNIT):
	@mkdir -p $(CACHE)
	npm install --prefix $@.new --silent --no-audit --no-fund --ignore-scripts junit2json@4.0.0 test-results-parser@0.4.6
	mv $@.new $@
