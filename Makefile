# Every verb of the house. `make help` lists them.
PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
RELEASE = $(SWIFT) build -c release -Xswiftc -static-executable --scratch-path .build-release -Xlinker --gc-sections -Xlinker -s

.PHONY: help build release test unit fmt lint proto clean

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST)

build: ## build everything for development
	$(SWIFT) build

release: ## build the static binaries that are installed
	for product in kata-agent kata-osbuilder kata-runtime containerd-shim-kata-v2; do $(RELEASE) --product $$product || exit 1; done

test: unit ## all tests

unit: ## tests that need no root
	$(SWIFT) test

fmt: ## format the sources
	$(SWIFT) format -i -r Sources Tests Package.swift

lint: ## check the format
	$(SWIFT) format lint -r Sources Tests Package.swift

proto: ## regenerate the wire contracts from protos/
	scripts/generate-protos

clean: ## remove what was built
	rm -rf .build .build-release out
