# syntax=docker/dockerfile:1
# The worker of a GPU node. Experiments run inside this image, so build your own
# upon it with the compilers and engines that your tasks need.
# Build from the root of the repository:
#   docker build -f deploy/docker/fleetune-worker.Dockerfile -t fleetune-worker .
FROM golang:1.26-bookworm AS build
WORKDIR /src
# Modules first, and without the workspace: the manager's are not needed.
COPY proto/go.mod proto/go.sum proto/
COPY shared/go.mod shared/go.sum shared/
COPY worker/go.mod worker/go.sum worker/
RUN cd worker && GOWORK=off go mod download
COPY proto proto
COPY shared shared
COPY worker worker
ARG VERSION=dev
# cgo, as NVML is opened at run time; without the driver's library the worker
# asks nvidia-smi.
RUN cd worker && GOWORK=off CGO_ENABLED=1 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=${VERSION}" -o /out/fleetune-worker ./cmd/fleetune-worker

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/fleetune-worker /usr/local/bin/
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME /var/lib/fleetune-worker
# The host's folder of device locks belongs here when several workers share a
# host: -v /run/lock/fleetune:/run/lock/fleetune
ENTRYPOINT ["fleetune-worker", "--dir", "/var/lib/fleetune-worker"]
