# The recorder alone; the database is a service of its own (docker-compose.yml).
FROM python:3.13-slim-bookworm AS build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_PYTHON=/usr/local/bin/python3
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.8
WORKDIR /app
# The dependencies change seldom, the source often: two layers.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-dev --no-install-project
COPY README.md LICENSE ./
COPY src src
RUN uv sync --locked --no-dev --no-editable

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/crypto-quant --shell /usr/sbin/nologin crypto-quant
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH CRYPTO_QUANT_DATA_DIR=/var/lib/crypto-quant CRYPTO_QUANT_METRICS_PORT=9464
USER crypto-quant
WORKDIR /var/lib/crypto-quant
VOLUME /var/lib/crypto-quant
STOPSIGNAL SIGTERM
# The recorder's event loop turns. A first start may wait for the database, and bring its tables up to date.
HEALTHCHECK --interval=15s --timeout=5s --start-period=5m --retries=4 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/livez', timeout=4)"]
ENTRYPOINT ["crypto-quant"]
CMD ["--help"]
