# The appliance as one static binary in an otherwise empty image, run by an
# ordinary user. ops/image.sh says what is built.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=(devel)
RUN sh ops/image.sh /image "${VERSION}" && chown 65532:65532 /image/data

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/appliance", "health"]
ENTRYPOINT ["/appliance"]
CMD ["serve", "--data-dir", "/data"]
