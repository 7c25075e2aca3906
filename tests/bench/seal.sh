#!/bin/bash
# What a seal costs on this machine.
exec "$OUT/bench/bench_seal"
