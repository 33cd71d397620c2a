# All targets work on a bare Debian 12 machine with root, Go, git and make.
# `make` alone explains them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

GO ?= go
GOARCH ?= $(shell $(GO) env GOARCH)
# The one place of the release's name; the manifests' image tags are tested against it.
VERSION ?= $(shell cat VERSION)
COMMIT ?= $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null)

MODULE := github.com/cloud-provider-vultr/cloud-provider-vultr
STAMP := -X $(MODULE)/internal/version.version=$(VERSION) -X $(MODULE)/internal/version.commit=$(COMMIT)
# The commit is stamped above, also where git refuses to look into a directory of another user.
GOBUILD := CGO_ENABLED=0 GOOS=linux GOARCH=$(GOARCH) $(GO) build -buildvcs=false -trimpath -ldflags '-s -w $(STAMP)'
# Modules with code of ours; golangci-lint lives in one more, tools/lint.
MODULES := . tools test/clients $(if $(wildcard test/e2e/go.mod),test/e2e)

# FAULTPOINTS=1 compiles in the places where end-to-end tests cut the CSI driver
# off; such builds are kept apart, so that they can't be released by mistake.
BIN := bin$(if $(FAULTPOINTS),/faultpoints)
CSI_TAGS := $(if $(FAULTPOINTS),-tags faultpoints)
IMAGES := $(BIN)/images
TEST_FLAGS ?=
KEEP ?=
export KEEP

.PHONY: help
help:
	@echo "Usage: make <target>"
	@awk -F ':.*## ' '/^##@/ { print substr($$0, 5) ":" } /^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Programs

.PHONY: build
build: ## Build the programs into bin/.
	$(GOBUILD) -o $(BIN)/ccm ./cmd/ccm
	$(GOBUILD) $(CSI_TAGS) -o $(BIN)/csi ./cmd/csi
	$(GOBUILD) -o $(BIN)/simulator ./cmd/simulator
	$(GOBUILD) -o $(BIN)/kubectl-vultr ./cmd/kubectl-vultr

# What releases are made for. The tests run on the machine's own.
ARCHITECTURES ?= amd64 arm64

.PHONY: cross
# Those that speak to the kernel. The others have nothing of an architecture, and are compiled with the images of a release (images-all).
cross: ## Compile the CSI driver and the simulator for the architectures beside this machine's, and keep nothing.
	@for arch in $(filter-out $(shell $(GO) env GOHOSTARCH),$(ARCHITECTURES)); do \
		echo "== $$arch =="; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -buildvcs=false -o /dev/null ./cmd/csi ./cmd/simulator; \
	done

.PHONY: plugin
plugin: ## Build the kubectl plugin alone: bin/kubectl-vultr.
	$(GOBUILD) -o $(BIN)/kubectl-vultr ./cmd/kubectl-vultr

# The tools are built each time: Go's own cache makes that a matter of a second. They run on this machine, whatever
# architecture the images are for.
.PHONY: tool-image tool-rootfs tool-sbom tool-testreport tool-notices tool-push
tool-image tool-rootfs tool-sbom tool-testreport tool-notices tool-push: tool-%:
	@cd tools && env -u GOARCH $(GO) build -buildvcs=false -o ../bin/ ./$*

# bin/release is the directory.
.PHONY: tool-release
tool-release:
	@cd tools && env -u GOARCH $(GO) build -buildvcs=false -o ../bin/release-tool ./release

.PHONY: tool-kustomize
tool-kustomize:
	@cd tools && env -u GOARCH $(GO) build -buildvcs=false -o ../bin/kustomize sigs.k8s.io/kustomize/kustomize/v5

# Tests of the chart build it themselves. Static, for it also runs inside of the local cluster.
.PHONY: tool-helm
tool-helm:
	@[ -x bin/helm ] || echo "building helm: some minutes, once"
	@cd tools/helm && CGO_ENABLED=0 $(GO) build -buildvcs=false -o ../../bin/helm helm.sh/helm/v4/cmd/helm

.PHONY: tool-hugo
tool-hugo:
	@[ -x bin/hugo ] || echo "building hugo: some minutes, once"
	@cd tools/hugo && CGO_ENABLED=0 $(GO) build -buildvcs=false -o ../../bin/hugo github.com/gohugoio/hugo

.PHONY: tool-govulncheck
tool-govulncheck:
	@cd tools && $(GO) build -buildvcs=false -o ../bin/govulncheck golang.org/x/vuln/cmd/govulncheck

.PHONY: tool-actionlint
tool-actionlint:
	@cd tools && $(GO) build -buildvcs=false -o ../bin/actionlint github.com/rhysd/actionlint/cmd/actionlint

.PHONY: tool-golangci-lint
tool-golangci-lint:
	@[ -x bin/golangci-lint ] || echo "building golangci-lint: 1 to 5 minutes, once"
	@cd tools/lint && $(GO) build -buildvcs=false -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: packages-test packages-images packages-vm
packages-test:
	@hack/ensure-packages race disks images clients
packages-images:
	@hack/ensure-packages images
packages-vm:
	@hack/ensure-packages race disks images vm

##@ Checks

.PHONY: test
test: packages-test tool-testreport ## Run every test that needs no cluster, csi-sanity included, with the race detector.
	@GO="$(GO)" hack/test $(TEST_FLAGS)

# A test that fails once in twenty runs is wrong, or what it tests is.
.PHONY: test-repeat
test-repeat: packages-test ## Run the tests of test RUNS times in a row, 20 by default, while other work keeps the processors busy: an hour and a half.
	@hack/ensure-packages load
	@GO="$(GO)" RUNS="$(RUNS)" JOBS="$(JOBS)" hack/test-repeat

.PHONY: test-faults
test-faults: packages-test ## Run every operation of both products with a fault at each of its steps: more than an hour.
	FAULTS=all $(GO) test -race -count=1 -timeout 120m $(TEST_FLAGS) ./test/faults
	FAULTS=all $(GO) test -race -count=1 -timeout 60m -run '^TestEveryPoint$$' $(TEST_FLAGS) ./test/lb

.PHONY: sanity
sanity: packages-test ## Run csi-sanity against the driver, with every spec's name.
	$(GO) test -race -count=1 -v -timeout 20m $(TEST_FLAGS) ./test/sanity/...

SOAK_FOR ?= 1h
.PHONY: soak
soak: packages-test ## Let volumes and load balancers live random lives under random faults, for an hour or SOAK_FOR.
	$(GO) test -race -count=1 -v -timeout 0 -run '^TestSoak' $(TEST_FLAGS) ./test/soak ./test/lb -soak.for=$(SOAK_FOR) -soak.shrink=10m

.PHONY: fuzz
fuzz: ## Run the fuzz targets alone, for FUZZTIME each (20000x).
	@GO="$(GO)" hack/fuzz

# CLEAN=1 only deletes what a run that was killed has left. One run at a time: each begins by cleaning up.
MAX_COST ?= 1
REGION ?= ewr
.PHONY: account
account: packages-test ## Run the load balancers' way through a real account: KEY_FILE=... REGION=ewr MAX_COST=1 (dollars); an hour at most, some cents.
	@[ -r '$(KEY_FILE)' ] || { echo 'account: KEY_FILE=... has to name a file with an API key' >&2; exit 2; }
	$(GO) test -race -count=1 -v -timeout 2h -run '^TestAccount$$' ./test/lb -account.key-file='$(abspath $(KEY_FILE))' -account.region=$(REGION) \
		-account.max-cost=$(MAX_COST) $(if $(CLEAN),-account.clean)

.PHONY: bench
bench: packages-test ## Run the benchmarks.
	HAPROXY="$$(hack/haproxy || true)" $(GO) test -run '^$$' -bench . -benchmem -timeout 20m $(TEST_FLAGS) ./...

.PHONY: lint
lint: tool-golangci-lint tool-actionlint ## Run the linters and check the formatting, tests included, in every module; and the workflows.
	@echo "== lint .github =="; bin/actionlint -shellcheck= -pyflakes=
	@for module in $(MODULES); do \
		echo "== lint $$module =="; \
		(cd $$module && "$(CURDIR)/bin/golangci-lint" run --allow-serial-runners --config "$(CURDIR)/.golangci.yml" ./...); \
	done

# Hugo's own warnings are mistakes as well, such as HTML in a page, which it leaves out.
.PHONY: docs-site
docs-site: tool-hugo ## Build the documentation as a site into bin/docs-site; a dead link or anchor, or a page outside of the navigation, fails it.
	@rm -rf bin/docs-site
	@bin/hugo build --config docs/site/hugo.yaml --destination bin/docs-site --cacheDir "$(CURDIR)/bin/hugo-cache" --noBuildLock --panicOnWarning
	@echo bin/docs-site/index.html

.PHONY: vuln
vuln: tool-govulncheck ## Look for known vulnerabilities; exits 2 if their database can't be read (GOVULNDB=file://... names another).
	@hack/vuln $(MODULES)

# The scenarios that derive keys many times, half a minute each where the guest's processor is emulated. A whole Debian. One that waits, and of
# those with a sick disk the kinds of file system that have no other way through the driver than the rest.
VM_LONG := TestPlatformOfGuests|TestShippedPluginOnDebian|TestEncrypted(GrowsWhileMounted)?$$/(xfs|btrfs|raw)|TestEncrypted(Lives|RawBlock|Replugged|OpenTwice|CopyBesideItsSource|ReadOnly|StageCost|KilledAtEveryStep)|TestPassphraseIsChangedOnlyThen|TestSharedFileSystemHangs|TestFormatHangs/(xfs|btrfs)|TestPublishHangs/xfs|Test(UnreadableDiskIsLeftAlone|FormatOfDiskThatRefusesWrites|FileSystemFailsUnderAPod)/btrfs

.PHONY: vm test-vm
vm: packages-vm ## Run the node plugin on real virtio disks and virtiofs, in virtual machines with a kernel of their own.
	$(GO) test -race -count=1 -v -timeout 30m -skip '$(VM_LONG)' $(TEST_FLAGS) ./test/vm/...
test-vm: packages-vm ## Run all scenarios of the virtual machines, also those that take long.
	$(GO) test -race -count=1 -v -timeout 90m $(TEST_FLAGS) ./test/vm/...

.PHONY: e2e
e2e: packages-test vm cluster-tool ## Run the end-to-end tests on a real Kubernetes on this machine, after those of vm.
	@bin/cluster prepare # outside of the tests' time limit: the first time takes long
	cd test/e2e && $(GO) test -p 1 -parallel 8 -race -count=1 -v -timeout 70m $(TEST_FLAGS) ./...

# DEFINITIONS="block vfs" are files of test/e2e/conformance (network has the load balancers), FOCUS a regular expression of the
# tests' names, PROCS how many run side by side.
.PHONY: e2e-conformance
e2e-conformance: packages-test cluster-tool ## Run Kubernetes' own tests of storage and load balancers on that Kubernetes: two to three hours.
	@FOCUS='$(FOCUS)' PROCS='$(PROCS)' bin/cluster conformance $(DEFINITIONS)

# The version before is a revision of this repository; the last release once there is one.
FROM ?= d9d6bc7
.PHONY: e2e-upgrade e2e-migrate e2e-chart
e2e-upgrade: packages-test cluster-tool ## Upgrade the product from the version before, or FROM, under pods that write: 10 minutes.
	@bin/cluster upgrade $(FROM)
e2e-migrate: packages-test cluster-tool ## Change over from the official programs by the documented commands, and back, under pods that write and requests: 20 minutes. PART=csi or ccm for one.
	@bin/cluster migrate $(PART)
e2e-chart: packages-test cluster-tool tool-helm ## Take the product over, upgrade, roll back, uninstall and install it by the Helm chart, under pods that write: 5 minutes.
	@bin/cluster chart

##@ Cluster

.PHONY: demo cluster-up cluster-down
demo: packages-test cluster-tool ## Show the main job on a real Kubernetes on this machine; KEEP=1 leaves it running.
	@bin/cluster demo
cluster-up: packages-test cluster-tool ## Start the cluster with the product installed and leave it running.
	@bin/cluster up
cluster-down: cluster-tool ## Remove the cluster, also one that was killed, with everything it made.
	@bin/cluster down

# Not `go run`: it would stand between Ctrl-C and the program's clean-up. Static,
# for it also runs in the workers' own root file system.
.PHONY: cluster-tool
cluster-tool:
	@cd test/e2e && CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o ../../bin/cluster ./cmd/cluster

##@ Delivery

.PHONY: manifests
manifests: tool-kustomize ## Render the manifests to apply into bin/manifests/{ccm,csi,csi-snapshots}.yaml.
	@mkdir -p bin/manifests
	@for part in ccm csi csi-snapshots; do \
		bin/kustomize build deploy/manifests/$$part -o bin/manifests/$$part.yaml; \
		echo "bin/manifests/$$part.yaml"; \
	done

.PHONY: chart
chart: tool-helm ## Check the Helm chart and package it into bin/vultr-<version>.tgz.
	@bin/helm lint --strict --namespace kube-system deploy/chart
	@SOURCE_DATE_EPOCH=0 bin/helm package deploy/chart --destination bin

# The tools with which a node recognises, makes, checks and grows file systems, and encrypts disks. It mounts them itself.
NODE_PACKAGES := e2fsprogs xfsprogs btrfs-progs util-linux cryptsetup-bin
NONROOT := 65532:65532
LABELS = --label org.opencontainers.image.version=$(VERSION) --label org.opencontainers.image.revision=$(COMMIT) \
	--label org.opencontainers.image.licenses=Apache-2.0
IMAGE = bin/image --arch $(GOARCH) $(LABELS)

# The tar of its root file system, made or found when it is needed.
NODE_ROOT = "$$(bin/rootfs $(if $(CACHE),--cache "$(CACHE)") --arch $(GOARCH) $(NODE_PACKAGES))"

# What is linked into the programs, with the licences: each image has it in /licenses, and the release beside the plugin. A licence that
# nobody has agreed to ends the build.
NOTICES = $(BIN)/licenses
.PHONY: notices
notices: tool-notices ## Collect the licences of what is linked into each program into bin/licenses, and fail on one that is not agreed to.
	@for program in ccm csi simulator kubectl-vultr; do \
		GOOS=linux GOARCH=$(GOARCH) bin/notices -o $(NOTICES)/$$program.txt ./cmd/$$program; done
# Files of an image with the licences of this program.
LICENSES = --file LICENSE=/licenses/LICENSE --file $(NOTICES)/$(1).txt=/licenses/THIRD-PARTY-NOTICES.txt

# The image of the node plugin alone, as a virtual machine runs it: `make node-image BIN=elsewhere`. Its packages are those
# of this machine's release, by which scanners judge them.
.PHONY: images node-image
node-image: packages-images build notices tool-image tool-rootfs
	@$(IMAGE) --name cloud-provider-vultr/csi-node:$(VERSION) --base $(NODE_ROOT) \
		--file $(BIN)/csi=/vultr-csi --file /etc/os-release=/etc/os-release $(call LICENSES,csi) --entrypoint /vultr-csi -o $(IMAGES)/csi-node.tar
images: node-image ## Build the container images into bin/images/*.tar, without a runtime or a registry.
	@$(IMAGE) --name cloud-provider-vultr/ccm:$(VERSION) --user $(NONROOT) --ca-certificates \
		--file $(BIN)/ccm=/vultr-ccm $(call LICENSES,ccm) --entrypoint /vultr-ccm -o $(IMAGES)/ccm.tar
	@$(IMAGE) --name cloud-provider-vultr/csi-controller:$(VERSION) --user $(NONROOT) --ca-certificates \
		--file $(BIN)/csi=/vultr-csi $(call LICENSES,csi) --entrypoint /vultr-csi -o $(IMAGES)/csi-controller.tar
	@$(IMAGE) --name cloud-provider-vultr/simulator:$(VERSION) --ca-certificates \
		--file $(BIN)/simulator=/vultr-simulator $(call LICENSES,simulator) --entrypoint /vultr-simulator -o $(IMAGES)/simulator.tar
	@ls -sh $(IMAGES)/*.tar

SBOM = bin/sbom --version $(VERSION) --arch $(GOARCH)

.PHONY: sbom
sbom: images tool-sbom ## List what is in each image and in the kubectl plugin, as SPDX documents beside them.
	@$(SBOM) --name cloud-provider-vultr/csi-node --program $(BIN)/csi --root $(NODE_ROOT) -o $(IMAGES)/csi-node.spdx.json
	@$(SBOM) --name cloud-provider-vultr/csi-controller --program $(BIN)/csi -o $(IMAGES)/csi-controller.spdx.json
	@$(SBOM) --name cloud-provider-vultr/ccm --program $(BIN)/ccm -o $(IMAGES)/ccm.spdx.json
	@$(SBOM) --name cloud-provider-vultr/simulator --program $(BIN)/simulator -o $(IMAGES)/simulator.spdx.json
	@$(SBOM) --name kubectl-vultr --program $(BIN)/kubectl-vultr -o $(BIN)/kubectl-vultr.spdx.json
	@ls -sh $(IMAGES)/*.spdx.json $(BIN)/kubectl-vultr.spdx.json

# Nothing of the other architecture runs for it: Go builds for any, and Debian's packages are only unpacked.
.PHONY: images-all
images-all: tool-image ## Build the images of all architectures, each joined to one OCI archive: bin/images-all/*.oci.tar.
	@for arch in $(ARCHITECTURES); do $(MAKE) images GOARCH=$$arch BIN=bin/$$arch; done
	@for name in ccm csi-controller csi-node simulator; do \
		bin/image --join -o bin/images-all/$$name.oci.tar $(foreach arch,$(ARCHITECTURES),bin/$(arch)/images/$$name.tar); done
	@ls -sh bin/images-all/*.oci.tar

# What is published is what is in there; where from it will be pulled is REGISTRY.
RELEASE := bin/release
.PHONY: release-dry-run
release-dry-run: images-all manifests chart tool-release ## Everything of a release that needs no registry: bin/release with images, SBOMs, manifests and chart by digest, sums.
	@rm -rf $(RELEASE) && mkdir -p $(RELEASE)
	@for arch in $(ARCHITECTURES); do \
		$(MAKE) sbom GOARCH=$$arch BIN=bin/$$arch; \
		for file in bin/$$arch/images/*.spdx.json; do cp $$file $(RELEASE)/$$(basename $$file .spdx.json)-$$arch.spdx.json; done; \
		cp bin/$$arch/kubectl-vultr $(RELEASE)/kubectl-vultr-linux-$$arch; \
		cp bin/$$arch/licenses/kubectl-vultr.txt $(RELEASE)/kubectl-vultr-linux-$$arch-notices.txt; done
	@cp bin/images-all/*.oci.tar $(RELEASE)
	@rm -rf bin/chart && cp -r deploy/chart bin/chart
	@bin/release-tool $(if $(REGISTRY),--registry $(REGISTRY)) --chart bin/chart $(RELEASE)/*.oci.tar
	@SOURCE_DATE_EPOCH=0 bin/helm package bin/chart --destination $(RELEASE)
	@bin/release-tool $(if $(REGISTRY),--registry $(REGISTRY)) -o $(RELEASE) \
		$(foreach part,ccm csi csi-snapshots,--manifest bin/manifests/$(part).yaml) $(RELEASE)/*.oci.tar
	@cd $(RELEASE) && sha256sum --quiet --check SHA256SUMS && ls -sh

# Under the credentials of `docker login`. Images name their commit, so those of another one are refused under the same version, and the chart
# with them; helm writes the time of its file into what it pushes. PLAIN_HTTP=1 is for a registry on this machine.
.PHONY: publish
publish: tool-push tool-helm ## Push images and chart of bin/release to REGISTRY, as they are; bin/pushed.txt names them by their digests.
	@[ -n "$(REGISTRY)" ] || { echo 'publish: REGISTRY=... has to name a registry, or a part of one' >&2; exit 2; }
	@cd $(RELEASE) && sha256sum --quiet --check SHA256SUMS
	@bin/push --registry $(REGISTRY) --tag $(VERSION) -o bin/pushed.txt $(RELEASE)/*.oci.tar
	@touch -d @0 $(RELEASE)/vultr-$(VERSION:v%=%).tgz
	@bin/helm push $(if $(PLAIN_HTTP),--plain-http) $(RELEASE)/vultr-$(VERSION:v%=%).tgz oci://$(REGISTRY)/charts 2>&1 | tee bin/helm-push.log
	@awk '$$1 == "Digest:" { print "$(REGISTRY)/charts/vultr@" $$2; found = 1 } END { exit !found }' bin/helm-push.log >>bin/pushed.txt
	@cat bin/pushed.txt

.PHONY: reproducible
reproducible: packages-images ## Build the images of the commit twice, in two places, for both architectures, and compare them.
	@hack/reproducible

.PHONY: clean
clean: ## Remove what was built; caches outside the repository stay.
	rm -rf bin
