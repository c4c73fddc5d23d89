# What a newcomer needs: `make dev` starts everything, `make test` checks everything. Each target says what it does in `make help`.
SHELL   := /bin/bash
GOFLAGS ?=
BIN     := bin
# The race detector needs a C compiler; without one the same tests run without it.
RACE    := $(if $(shell command -v cc),-race)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)

.PHONY: help build dev test test-unit test-server test-e2e lint bench tidy clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## build bin/bailiwick and bin/bailiwick-temporal (the first build compiles the Temporal server: some minutes)
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/bailiwick ./cmd/bailiwick-temporal

dev: build ## start the development org, Temporal, its UI and a demo worker; Ctrl-C stops all
	@$(BIN)/bailiwick dev $(DEV_ARGS)

test: test-unit test-server test-e2e ## run every test

test-unit: ## tests of the root module, with the race detector where there is a C compiler
	@if [ "$$CI" = true ]; then scripts/install-test-deps postgresql; fi
	scripts/go-test $(RACE) ./...

test-server: ## tests of the server plugin and the commands, against real Temporal servers in process
	scripts/go-test ./serverplugin/... $$(go list ./cmd/... | grep -v /e2e)

test-e2e: build ## tests of the real binaries: CLI, Go SDK, npm client, browser
	scripts/install-test-deps
	scripts/go-test -timeout 20m ./cmd/e2e/...

lint: ## gofmt, go vet, staticcheck, import rules
	scripts/lint

bench: ## print each figure beside its baseline and write build/bench.json
	@mkdir -p build
	go run ./cmd/bench -o build/bench.json

tidy: ## tidy each module against the others as they are here
	scripts/tidy

clean: ## remove what was built (state in .bailiwick stays)
	rm -rf $(BIN) build
