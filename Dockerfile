# The tags follow patch releases, so that a rebuild takes their fixes. For builds that can be repeated to the byte,
# put a digest behind them: rust:1-bookworm@sha256:…
#
#   docker build --tag cedargate .
#   docker run --rm --publish 8000:8000 --volume cedargate:/var/lib/cedargate \
#       --volume "$PWD/secrets:/run/secrets:ro" --env SECRET_KEY_FILE=/run/secrets/secret_key cedargate
#
# Settings: the environment, or a file mounted at /opt/cedargate/config/cedargate.toml.

FROM rust:1-bookworm AS build
# Debian keeps one version of a package: pinning it would break this build at the package's next fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies alone: this layer is reused until Cargo.toml or Cargo.lock changes. The benchmarks are named in the
# manifest, so stand-ins must be there for as long as anything is built.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && echo 'fn main() {}' >src/main.rs \
    && cp src/main.rs benches/decide.rs \
    && cp src/main.rs benches/figures.rs \
    && cp src/main.rs benches/operations.rs \
    && cp src/main.rs benches/tokens.rs \
    && cp src/main.rs benches/bare_pingora.rs \
    && cp src/main.rs benches/verify.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src

# Cedargate itself; policies and migrations become part of the binary. Files keep the times they have outside, which
# may be earlier than the build above: without `touch`, cargo would take the stand-ins for current.
COPY policies policies
COPY migrations migrations
COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked \
    && ./target/release/cedargate version

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 cedargate \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/cedargate \
        --shell /usr/sbin/nologin cedargate \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/cedargate \
    && install --directory /opt/cedargate/config
COPY --from=build /build/target/release/cedargate /usr/local/bin/cedargate

LABEL org.opencontainers.image.title="Cedargate" \
      org.opencontainers.image.description="A policy-engine-backed authorization gateway: Pingora in front, Cedar inside" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"

# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
WORKDIR /opt/cedargate
VOLUME /var/lib/cedargate

# The gateway, and the admin service, which listens on loopback unless CEDARGATE_ADMIN__LISTEN says otherwise.
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
# Asks /readyz of the admin listener, wherever the settings put it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["cedargate", "healthcheck", "--data-dir", "/var/lib/cedargate"]
ENTRYPOINT ["cedargate"]
CMD ["serve", "--data-dir", "/var/lib/cedargate"]
