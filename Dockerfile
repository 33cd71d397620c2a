# syntax=docker/dockerfile:1
# The same images as `make images` builds without a container runtime:
#
#   docker build --target ccm            -t cloud-provider-vultr/ccm .
#   docker build --target csi-controller -t cloud-provider-vultr/csi-controller .
#   docker build --target csi-node       -t cloud-provider-vultr/csi-node .
#   docker build --target simulator      -t cloud-provider-vultr/simulator .

ARG GO_VERSION=1.26

# Built on the builder's own architecture for the target's: Go needs no emulation for that.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
ARG TARGETARCH
ARG VERSION
ARG COMMIT
# git refuses to describe a tree of another user; the commit is an argument.
ENV GOFLAGS=-buildvcs=false
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make build notices GOARCH=${TARGETARCH} ${VERSION:+VERSION=${VERSION}} COMMIT=${COMMIT}

# A static binary and the public root certificates are all that these need.
FROM scratch AS static
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /licenses/LICENSE

FROM static AS ccm
COPY --from=build /src/bin/ccm /vultr-ccm
COPY --from=build /src/bin/licenses/ccm.txt /licenses/THIRD-PARTY-NOTICES.txt
USER 65532:65532
ENTRYPOINT ["/vultr-ccm"]

FROM static AS csi-controller
COPY --from=build /src/bin/csi /vultr-csi
COPY --from=build /src/bin/licenses/csi.txt /licenses/THIRD-PARTY-NOTICES.txt
USER 65532:65532
ENTRYPOINT ["/vultr-csi"]

# It binds ports, makes disks and addresses: that takes root.
FROM static AS simulator
COPY --from=build /src/bin/simulator /vultr-simulator
COPY --from=build /src/bin/licenses/simulator.txt /licenses/THIRD-PARTY-NOTICES.txt
ENTRYPOINT ["/vultr-simulator"]

# The node also needs the tools that recognise, make, check and grow file systems, and encrypt disks.
FROM debian:bookworm-slim AS csi-node
RUN apt-get update \
    && apt-get install -y --no-install-recommends e2fsprogs xfsprogs btrfs-progs util-linux cryptsetup-bin \
    && rm -rf /var/lib/apt/lists/*
COPY LICENSE /licenses/LICENSE
COPY --from=build /src/bin/csi /vultr-csi
COPY --from=build /src/bin/licenses/csi.txt /licenses/THIRD-PARTY-NOTICES.txt
ENTRYPOINT ["/vultr-csi"]
