#!/bin/bash
# k01: Whatever is killed, stopped or cut, and whenever: both ends hold the
# department's rows, each once, in one chain without a gap, after each round.
# 30 rounds kill source, link and sink once each at random moments.
exec python3 "$(dirname "$0")/chaos.py" --churn 120 --faults \
	kill-all:30,crash-city:9,crash-link:2,crash-hub:2,broker-city:2,broker-hub:2,postgres:2,zombie-city:1,zombie-link:1,zombie-hub:1,cut:3
