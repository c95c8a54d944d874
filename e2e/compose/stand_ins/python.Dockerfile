# Stands in for python:3.11-slim where no image can be pulled: Debian's own Python 3.11.
# What this machine needs to reach its package registry belongs here and not into the project's image.
FROM debian:bookworm-slim
COPY etc /etc
RUN apt-get -qq update \
 && apt-get -qq install --yes --no-install-recommends python3 python3-pip python3-venv >/dev/null \
 && ln -s python3 /usr/bin/python \
 && rm -rf /var/lib/apt/lists/*
CMD ["python3"]
