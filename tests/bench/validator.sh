#!/bin/bash
# The validator beside yajl, which only tokenises the same records.
exec "$OUT/bench/bench_validator"
