# syntax=docker/dockerfile:1
# The manager and everything else of `fleetune`, for a bus and a database that
# run elsewhere: `fleetune manager`, `fleetune nats`, and the command line.
# Build from the root of the repository:
#   docker build -f deploy/docker/fleetune.Dockerfile -t fleetune .
FROM golang:1.26-bookworm AS build
WORKDIR /src
# Modules first: they change less often than the code.
COPY go.work go.work.sum ./
COPY proto/go.mod proto/go.sum proto/
COPY shared/go.mod shared/go.sum shared/
COPY worker/go.mod worker/go.sum worker/
COPY manager/go.mod manager/go.sum manager/
RUN go mod download
COPY proto proto
COPY shared shared
COPY worker worker
COPY manager manager
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=${VERSION}" -o /out/fleetune ./manager/cmd/fleetune

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/fleetune /fleetune
USER 65532:65532
EXPOSE 7420 7422
ENTRYPOINT ["/fleetune"]
