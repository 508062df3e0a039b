FROM python:3.13-slim
WORKDIR /app
COPY requirements.lock .
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --system --create-home gate && mkdir -p /var/lib/mythos-gate && chown gate /var/lib/mythos-gate
USER gate
ENV MYTHOS_GATE_STATE=/var/lib/mythos-gate
ENTRYPOINT ["mythos-gate"]
CMD ["serve", "--host", "0.0.0.0"]
