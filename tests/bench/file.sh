#!/bin/bash
# Records of a GB18030 file beside iconv alone on the same bytes.
exec "$OUT/bench/bench_file"
