# Stands in for prom/prometheus where no image can be pulled: the binary of Debian's package.
# As in the real image: its paths, its user, and a place for data that belongs to that user.
FROM debian:bookworm-slim
COPY prometheus /bin/prometheus
RUN mkdir -p /etc/prometheus /prometheus && chown nobody:nogroup /prometheus
USER nobody
VOLUME /prometheus
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
