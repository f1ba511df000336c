# One image for all commands. The first argument names the service.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# Dependencies are built in a layer of their own. It is rebuilt only if one of these files changes.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir -p src tests/it benches/micro benches/orders && echo 'fn main() {}' >src/main.rs \
 && touch src/lib.rs tests/it/main.rs benches/micro/main.rs benches/orders/main.rs \
 && cargo build --locked --release --bin valerix && rm -rf src
COPY README.md ./
COPY migrations migrations
COPY static static
COPY src src
RUN touch src/main.rs src/lib.rs && cargo build --locked --release --bin valerix

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/valerix /usr/local/bin/valerix
ENV HOST=0.0.0.0
USER nonroot
ENTRYPOINT ["/usr/local/bin/valerix"]
CMD ["--help"]
# It asks the service at the port in PORT, or at 5001.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["/usr/local/bin/valerix", "healthcheck"]
# `make image` adds the version, the revision, and the source if SOURCE_URL names it.
LABEL org.opencontainers.image.title="Valerix" \
      org.opencontainers.image.description="An order platform that finishes each order once" \
      org.opencontainers.image.licenses="MIT"
