# The server and its commands in an image: built with the tools, run without them, and not as root.
#
#   docker build -t eventflow .
#   docker run --rm -p 50051:50051 -v eventflow:/data -e EVENTFLOW_INSECURE=true eventflow
#
# Nothing is encrypted yet: without EVENTFLOW_INSECURE the server refuses to listen beyond the container.
FROM docker.io/library/rust:1.95-slim-bookworm AS build
# The compiler is for SQLite and the cryptography.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY migrations migrations
COPY benches benches
COPY src src
RUN cargo build --release --locked --bin eventflow

FROM docker.io/library/debian:bookworm-slim
RUN useradd --system --uid 65532 --home-dir /data --create-home eventflow
COPY --from=build /source/target/release/eventflow /usr/local/bin/eventflow
USER 65532:65532
WORKDIR /data
VOLUME /data
ENV EVENTFLOW_DATA_DIR=/data \
    EVENTFLOW_LISTEN=0.0.0.0:50051 \
    EVENTFLOW_HTTP_LISTEN=0.0.0.0:9464
EXPOSE 50051 9464
# A stop takes up to 25 s: give it 30 (docker stop --time 30).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s CMD ["eventflow", "health"]
ENTRYPOINT ["eventflow"]
CMD ["serve"]
