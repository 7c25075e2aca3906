#!/bin/bash
# Records of an XML document beside a bare SAX parse with the same XSD.
exec "$OUT/bench/bench_xml"
