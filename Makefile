# Weft. Quick start:
#
#   make demo     shows three sites talking, with nothing installed
#   make build    builds bin/weft
#   make test     runs all tests under the race detector, after installing what they need (mosquitto)
#   make check    what a change must pass: vet, lint (formatting included), build, tests
#
# More: make fmt | lint | soak | bench | scale | fuzz | proto | clean
#   make soak     the kill -9 tests with ROUNDS=200 rounds each
#   make bench    Weft beside Mosquitto and Mosquitto's bridge; BENCH='-duration 5s -qos 1' narrows it (docs/benchmarks.md)
#   make scale    what a mesh of 10, 50 and 200 nodes costs, in one process; NODES='10 50' narrows it (docs/scale.md)
#   make fuzz     every fuzz target for FUZZTIME=20s
#   make proto    generates the Go code of the plugins' protocol from plugins/proto

GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BUF       := github.com/bufbuild/buf/cmd/buf@v1.74.0
ROUNDS    ?= 200
FUZZTIME  ?= 20s
BENCH     ?=
NODES     ?= 10 50 200

# Debian keeps mosquitto out of the PATH of ordinary users.
export PATH := $(PATH):/usr/sbin

.PHONY: build demo test check fmt vet lint soak bench scale fuzz proto clean

build:
	CGO_ENABLED=0 go build -trimpath -o bin/weft ./cmd/weft

demo: build
	bin/weft demo

test:
	.ci/tools
	go test -race -timeout 15m ./...

check: vet lint build test

fmt:
	go run $(GOLANGCI) fmt

vet:
	go vet ./...

lint:
	go run $(GOLANGCI) run

soak:
	.ci/tools
	WEFT_SOAK_ROUNDS=$(ROUNDS) go test -race -count=1 -timeout 24h -v ./...

bench:
	.ci/tools
	go run ./cmd/bench $(BENCH)

scale:
	WEFT_MESH_NODES="$(NODES)" WEFT_MESH_REST=1m go test -run '^$$' -bench 'Mesh|Followers' -timeout 2h ./transports/kademlia

fuzz:
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file func; do \
		echo "== $$(dirname $$file) $${func#func }"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "./$$(dirname $$file)" </dev/null || exit 1; \
	done

proto:
	cd plugins/proto && go run $(BUF) lint && go run $(BUF) generate

clean:
	rm -rf bin
