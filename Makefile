# All make targets. `make help` lists them.
PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
RELEASE = $(SWIFT) build -c release --scratch-path .build-release \
	-Xswiftc -static-executable -Xswiftc -Osize -Xlinker --gc-sections -Xlinker -s
# Hand-written sources. Generated code is not formatted.
WRITTEN = $(shell find Sources Tests -name '*.swift' -not -path '*/Generated/*')
# Seconds after which the tests count as hung. They take one minute.
UNIT_SECONDS ?= 600
TOOLS = kata-agent kata-osbuilder kata-runtime containerd-shim-kata-v2

.PHONY: help dependencies build release kernel guest quickstart install test unit vm host-tests host-tests-short host-shell bench soak crash fuzz fuzz-guided sanitize fmt lint proto proto-check clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST)

dependencies:
	@scripts/install-dependencies build

build: dependencies ## build everything for development
	$(SWIFT) build

release: dependencies ## build the static binaries that are installed
	for tool in $(TOOLS); do $(RELEASE) --product $$tool || exit 1; done

kernel: release ## build the guest's own kernel, once per machine (a quarter of an hour); everything uses it from then on
	scripts/build-kernel

guest: release ## make the guest's kernel, initrd and (with our own kernel) image in out/guest
	scripts/build-guest

quickstart: ## run a container in a VM: two commands from a clean machine
	scripts/install-dependencies run
	$(MAKE) guest
	scripts/quickstart

install: guest ## install binaries, configuration and guest (PREFIX, DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/usr/share/kata-containers $(DESTDIR)/usr/share/defaults/kata-containers
	install -m 755 .build-release/release/kata-runtime .build-release/release/containerd-shim-kata-v2 \
		.build-release/release/kata-osbuilder $(DESTDIR)$(PREFIX)/bin
	install -m 644 out/guest/vmlinux $(DESTDIR)/usr/share/kata-containers/vmlinux.container
	install -m 644 out/guest/initrd.img $(DESTDIR)/usr/share/kata-containers/kata-containers-initrd.img
	sed "s/@VERSION@/$$(.build-release/release/kata-agent --version | cut -d' ' -f2)/" scripts/kata-collect-data.sh \
		>$(DESTDIR)$(PREFIX)/bin/kata-collect-data.sh && chmod 755 $(DESTDIR)$(PREFIX)/bin/kata-collect-data.sh
	install -m 644 config/configuration.toml $(DESTDIR)/usr/share/defaults/kata-containers/configuration.toml
	if [ -e out/guest/modules ]; then \
		install -d $(DESTDIR)/usr/share/kata-containers/modules && \
		cp -a out/guest/modules/. $(DESTDIR)/usr/share/kata-containers/modules && \
		sed -i 's|^guest_modules_path = .*|guest_modules_path = "/usr/share/kata-containers/modules"|' $(DESTDIR)/usr/share/defaults/kata-containers/configuration.toml; \
	fi
	if [ -e out/guest/image.img ]; then \
		install -m 644 out/guest/image.img $(DESTDIR)/usr/share/kata-containers/kata-containers.img && \
		sed -i 's|^initrd = .*|image = "/usr/share/kata-containers/kata-containers.img"|' $(DESTDIR)/usr/share/defaults/kata-containers/configuration.toml; \
	fi

test: ## run all tests
	scripts/install-dependencies test
	$(MAKE) unit
	$(MAKE) vm

unit: dependencies ## run the tests that need no root
	$(SWIFT) build --build-tests
	timeout $(UNIT_SECONDS) $(SWIFT) test --skip-build --skip VMTests || { status=$$?; [ $$status != 124 ] || \
		echo "the tests have not ended within $(UNIT_SECONDS) s: run in a terminal, they show which one hangs" >&2; exit $$status; }

vm: ## run the tests with real guests; needs root
	scripts/install-dependencies test
	$(MAKE) guest
	scripts/build-systemd-rootfs
	KATA_VM_TESTS=$(CURDIR) $(SWIFT) test --filter VMTests

host-tests: guest ## run the tests of Tests/Host on a real host that QEMU emulates (HOST_TESTS: some of them); needs root
	scripts/install-dependencies test
	scripts/host-rig test $(HOST_TESTS)

host-tests-short: guest ## run those of them that are quick; needs root
	scripts/install-dependencies test
	RIG_SECONDS=900 scripts/host-rig test short

host-shell: guest ## give a shell on that host
	scripts/install-dependencies test
	scripts/host-rig shell

bench: guest ## measure against a bare VM and runc, in the same run, and draw out/startup.png; needs root
	scripts/install-dependencies bench
	$(RELEASE) --product bench-peer
	Benchmarks/run

soak: guest ## run RUNS containers, EXECS programs in one, ROUNDS side by side, and look for leftovers; needs root
	scripts/install-dependencies test
	scripts/soak $(RUNS) $(EXECS) $(ROUNDS)

crash: guest ## inject faults into every process at every moment, and write the table of docs/reliability.md; needs root
	scripts/install-dependencies test
	KATA_CRASH=full KATA_VM_TESTS=$(CURDIR) $(SWIFT) test --filter VMTests.CrashTests

fuzz: dependencies ## fuzz all decoders of outside data, FUZZ (20) times as long as the tests do
	scripts/fuzz $(FUZZ)

fuzz-guided: dependencies ## fuzz the decoders of a guest's bytes with libFuzzer and AddressSanitizer: SECONDS (60) each, DECODERS (all)
	scripts/fuzz-guided "$(SECONDS)" $(DECODERS)

sanitize: dependencies ## run the unit tests under ThreadSanitizer and AddressSanitizer (SANITIZERS: one of them)
	scripts/sanitize $(SANITIZERS)

fmt: ## format the sources
	@$(SWIFT) format -i Package.swift $(WRITTEN)

lint: ## check the format of the sources, the words of their comments, the pipes of scripts, and line widths and links of the docs
	@$(SWIFT) format lint --strict Package.swift $(WRITTEN)
	@scripts/check-docs
	@scripts/check-prose
	@scripts/check-scripts
	@scripts/check-safety

proto: ## regenerate the wire contracts from protos/
	scripts/generate-protos

proto-check: ## check that the wire contracts are what protos/ gives
	scripts/install-dependencies proto
	scripts/generate-protos --check

clean: ## remove all build results
	rm -rf .build .build-release .build-protoc out
