# Builds deskhand and leaves one binary in a small image without a shell's worth of packages.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY benches benches
# The dependencies alone, so that a change of our own code does not build them again.
RUN mkdir src && echo '//! Nothing yet.' > src/lib.rs && echo 'fn main() {}' > src/main.rs \
 && cargo build --profile dist --locked --features otlp && rm -rf src
COPY . .
RUN touch src/lib.rs src/main.rs && cargo build --profile dist --locked --features otlp

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 1001 --no-create-home deskhand
COPY --from=build /src/target/dist/deskhand /usr/local/bin/deskhand
USER 1001
EXPOSE 9600
ENV DESKHAND_ADMIN_LISTEN=0.0.0.0:9600
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["deskhand", "healthcheck"]
ENTRYPOINT ["deskhand"]
CMD ["run"]
