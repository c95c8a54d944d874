# The image `mini-istiod`: the control plane, and the small jobs beside it (`provision`, `iptables`, `docker-proxy`).
# Sidecars and gateways are the stock envoyproxy/envoy image; nothing of this one runs inside of them.
#
#   docker build -t mini-istiod .
#
# Four stages, from what changes seldom to what changes with every commit, so that a rebuild after an edit takes
# seconds and sends one small layer.  It needs neither BuildKit nor a build tool in the result.

ARG PYTHON=python:3.11-slim

# ---- The libraries: what pyproject.toml asks for at run time (no extras), in the versions of constraints.txt. ----
FROM ${PYTHON} AS libraries

# Only to strip debugging symbols off the libraries' machine code, two thirds of its size.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/*

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Without pip: whatever installs packages stays in this stage.
RUN python3 -m venv --without-pip /opt/mini-istiod && rm /opt/mini-istiod/bin/[Aa]ctivate*

WORKDIR /src
COPY pyproject.toml constraints.txt ./
RUN python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > requirements.txt \
 && pip --python /opt/mini-istiod/bin/python install --no-compile \
      --requirement requirements.txt --constraint constraints.txt \
 && cd /opt/mini-istiod/lib/python3*/site-packages \
 # Machine code keeps the symbols that the loader needs.
 && find . -name '*.so*' -type f -exec strip --strip-unneeded {} + \
 # What compilers and type checkers read, and the libraries' own tests.
 && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.c' -o -name '*.h' \) \
      -delete \
 && find . -depth -type d \( -name tests -o -name _testing -o -name include \) -exec rm -rf {} + \
 # Compiled here, because nobody can write there; by hash, so that the time of a build is not in the files.
 && /opt/mini-istiod/bin/python -m compileall -q --invalidation-mode unchecked-hash .

# ---- The program, as a package of its own, to be laid over the libraries. ----
FROM libraries AS program
COPY README.md LICENSE ./
COPY controlplane controlplane
RUN pip wheel --quiet --no-deps --wheel-dir /wheel . \
 && pip --python /opt/mini-istiod/bin/python install --quiet --no-deps --no-compile --no-warn-script-location \
      --root /program /wheel/*.whl \
 && cd /program/opt/mini-istiod/lib/python3*/site-packages \
 && find . -name '*.pyi' -delete \
 && /opt/mini-istiod/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /program .

# ---- What runs. ----
FROM ${PYTHON}

# iptables is for the init container, which writes the redirection rules into a sidecar's network namespace.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends iptables \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && echo 'mini-istiod:x:65532:65532::/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'mini-istiod:x:65532:' >> /etc/group \
 # A new named volume takes its owner from here.
 && install -d -o 65532 -g 65532 -m 0700 /var/lib/mini-istiod \
 && install -d -o 65532 -g 65532 -m 0755 /etc/mini-istiod-roots

COPY --from=libraries /opt/mini-istiod /opt/mini-istiod
COPY --from=program /program/ /
ENV PATH=/opt/mini-istiod/bin:$PATH
# Python's own modules come uncompiled, and nobody can compile them later.  Those that the program loads are compiled
# by loading them; then the tools that install packages go.
RUN mini-istiod discovery --help > /dev/null \
 && python -c 'import controlplane.app.serve, controlplane.ctl.__main__' \
 && rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/site-packages/setuptools* \
      /usr/local/lib/python3*/site-packages/wheel* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip*

# Nothing is ever written beside the volumes: run it with a read-only root file system.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
# xDS with TLS, and /ready, /metrics, /debug.
EXPOSE 15012 15014
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["mini-istiod", "healthy"]
ENTRYPOINT ["mini-istiod"]
CMD ["discovery"]

# Last, because a version changes nothing above.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mini-istiod" \
      org.opencontainers.image.description="An Envoy xDS control plane in Python: Istio's API, stock Envoys" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
