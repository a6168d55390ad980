#!/bin/sh
# Writes constraints.txt: every dependency pinned with hashes, no index address, no path.
set -e
cd "$(dirname "$0")/.."
pip-compile --quiet --upgrade --strip-extras --generate-hashes --allow-unsafe --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
    --extra all --output-file requirements/constraints.txt pyproject.toml requirements/dev.in
