# gxbus.  "make" builds; "make demo" shows it on real servers; "make test" is
# the whole gate.  One object folder per kind of build: build/<KIND>/.
KIND    ?= obj
CC      ?= gcc
OUT     := build/$(KIND)
PKGS    := rdkafka libpq yajl libcrypto libmicrohttpd libcurl libpcre2-8 zlib libxml-2.0
WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wmissing-prototypes \
           -Wstrict-prototypes -Wcast-qual -Wvla -Wswitch-enum -Wformat=2 -Wundef -Werror
HARDEN  := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
OPT     ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -Ibus -I. -MMD -MP
CFLAGS  += -std=c17 $(OPT) $(WARN) $(HARDEN) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS += -pie -Wl,-z,relro,-z,now
LDLIBS  += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread -lm
SAN     ?=
CFLAGS  += $(SAN)
LDFLAGS += $(SAN)

LIB_SRC  := $(filter-out bus/node/gxbusd.c,$(wildcard bus/*/*.c bus/consumers/*/*.c adapters/*.c catalog/*.c))
CLI_SRC  := $(wildcard cli/*.c)
TEST_SRC := $(wildcard tests/unit/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(OUT)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(OUT)/%.o)
TESTS    := $(patsubst tests/unit/%.c,$(OUT)/tests/%,$(filter tests/unit/t_%.c tests/unit/sim_%.c,$(TEST_SRC)))

.PHONY: all install clean down demo test tests unit sim lint bench chaos fuzz fuzzers asan tsan deps cover format docs print-flags
all: build/gxbus build/gxbusd

build/gxbus: $(OUT)/gxbus
	@ln -sf $(KIND)/gxbus $@
build/gxbusd: $(OUT)/gxbusd
	@ln -sf $(KIND)/gxbusd $@

$(OUT)/libgx.a: $(LIB_OBJ)
	@rm -f $@ && ar rcs $@ $^
$(OUT)/gxbus: $(CLI_OBJ) $(OUT)/libgx.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(OUT)/gxbusd: $(OUT)/bus/node/gxbusd.o $(OUT)/libgx.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
# A test is one .c file plus tests/unit/<helper>.c files that begin with no t_.
# world*.c is what simulations run in.
WORLD := $(filter tests/unit/world%,$(TEST_SRC))
TEST_HELP := $(filter-out tests/unit/t_% tests/unit/sim_% $(WORLD),$(TEST_SRC))
$(filter $(OUT)/tests/sim_%,$(TESTS)): $(OUT)/tests/sim_%: $(OUT)/tests/unit/sim_%.o $(WORLD:%.c=$(OUT)/%.o) $(OUT)/libgx.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(OUT)/tests/%: $(OUT)/tests/unit/%.o $(TEST_HELP:%.c=$(OUT)/%.o) $(OUT)/libgx.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka
# Its linker sends our allocations through the test.
$(OUT)/tests/t_torture: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free
# Cheap seals, the trace, and the places where mistakes are planted.
SIM_WRAPS := gx_sm3 gx_sm3_new gx_sm3_free gx_sm3_begin gx_sm3_add gx_sm3_end gx_sm3_x8_ready \
             gx_sm2_sign gx_sm2_verify gx_log gx_log_err gx_crash_point \
             gx_chain_batch gx_chain_epoch gx_seal_check gx_head_parse
$(OUT)/tests/sim_flow: LDFLAGS += $(SIM_WRAPS:%=-Wl,--wrap=%)
# Programs that scenarios run.
$(OUT)/scenario/%: $(OUT)/tests/scenario/%.o $(OUT)/libgx.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
# Measurements; each needs only libgx.a.
$(OUT)/bench/%: $(OUT)/tests/bench/%.o $(OUT)/libgx.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
.SECONDARY:

# Scenarios that run side by side find their programs made.
DRIVES := $(patsubst tests/scenario/%.c,$(OUT)/scenario/%,$(wildcard tests/scenario/drive_*.c))
tests: $(TESTS) $(DRIVES)

# Everything on real, private servers: conf/local/demo says what it shows.
demo:
	@conf/local/deps
	@echo building; $(MAKE) -s --no-print-directory -j2 all
	@conf/local/demo
down:
	@conf/local/ctl stop
deps:
	@conf/local/deps

# The parts of the gate; tests/run.sh says how to run one test.
test:
	@if [ -x conf/local/deps ]; then conf/local/deps; fi
	@sh tests/run.sh
unit: $(filter $(OUT)/tests/t_%,$(TESTS))
	@OUT=$(OUT) sh tests/run.sh unit
SEEDS ?= 20000
sim: $(filter $(OUT)/tests/sim_%,$(TESTS))
	@OUT=$(OUT) SEEDS=$(SEEDS) sh tests/run.sh sim
# Faults at random moments, on real servers: longer than in the suite.
ROUNDS ?= 200
chaos: all
	@python3 tests/scenario/chaos.py --rounds $(ROUNDS)
# Ratios, each against something measured in the same run.
BENCHES := $(patsubst tests/bench/%.c,$(OUT)/bench/%,$(wildcard tests/bench/*.c))
bench: all $(BENCHES)
	@OUT=$(OUT) bash tests/bench/run.sh
lint: $(OUT)/libgx.a $(CLI_OBJ)
	@sh tests/lint.sh
format:
	clang-format-14 -i $$(git ls-files '*.c' '*.h')
docs:
	python3 tests/lint_text.py --write-docs
print-flags:
	@echo $(filter-out -MMD -MP,$(CPPFLAGS)) $(CFLAGS)

# Sanitizers are expected to be silent.  They want no fortified libc calls.
SAN_OPT := -O1 -g -fno-omit-frame-pointer
SAN_HARDEN := -fstack-protector-strong -fPIE
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all
asan:
	@$(MAKE) KIND=asan CC=clang OPT="$(SAN_OPT)" HARDEN="$(SAN_HARDEN)" \
		SAN="$(ASAN)" unit
# Threads are in these; libraries that are not instrumented would tell tales.
TSAN_TESTS ?= t_flow* t_*worker* t_*metric* t_*_log*
tsan:
	@ONLY="$(TSAN_TESTS)" $(MAKE) KIND=tsan CC=clang OPT="$(SAN_OPT)" \
		HARDEN="$(SAN_HARDEN)" SAN="-fsanitize=thread" unit

# Which lines no unit test has run: a share per file, lines in build/cover/.
cover:
	@$(MAKE) KIND=cover OPT="-O0 -g" HARDEN= SAN="--coverage" unit
	@cd build/cover && find . -name '*.gcno' -path './[bac]*' | \
		xargs gcov -s "$(CURDIR)" -r 2>/dev/null | \
		awk "/^File/ { f = \$$2 } /^Lines/ && f { print \$$2, \$$4, f; f = \"\" }" | \
		sort -u | sed "s/executed://;s/'//g" | sort -n

# Every parser of foreign bytes, FUZZ_SECONDS each, from its seeds in
# tests/fuzz/seeds/<name>/; what it finds on the way stays in build/.
FUZZ_SECONDS ?= 10
FUZZERS := $(patsubst tests/fuzz/%.c,$(OUT)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(OUT)/fuzz/%: $(OUT)/tests/fuzz/%.o $(OUT)/libgx.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)
fuzzers: $(FUZZERS)
fuzz:
	@$(MAKE) KIND=fuzz CC=clang OPT="$(SAN_OPT)" HARDEN="$(SAN_HARDEN)" \
		SAN="-fsanitize=fuzzer-no-link,address,undefined \
		-fno-sanitize-recover=all" fuzzers
	@for f in build/fuzz/fuzz/fuzz_*; do \
		n=$${f##*/}; mkdir -p build/fuzz/found/$$n build/fuzz/seeds; \
		s=tests/fuzz/seeds/$$n; [ -d $$s ] || s=build/fuzz/seeds; \
		echo "$$n: $(FUZZ_SECONDS) s"; \
		$$f -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 \
			-verbosity=0 -print_final_stats=1 \
			-artifact_prefix=build/fuzz/$$n- build/fuzz/found/$$n \
			$$s || exit 1; done

# Programs, declarations, tables, samples and the unit; nothing is started and
# no configuration is touched.  "gxbus init" makes a node's own files after it.
PREFIX ?= /usr
SHARE := $(DESTDIR)$(PREFIX)/share
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system \
		$(SHARE)/gxbus/adapters $(SHARE)/gxbus/nginx $(SHARE)/doc/gxbus \
		$(SHARE)/bash-completion/completions
	install -m 755 build/gxbus build/gxbusd $(DESTDIR)$(PREFIX)/bin
	cp -r --no-preserve=mode schemas/resources schemas/sql schemas/maps \
		schemas/xsd schemas/layouts $(SHARE)/gxbus
	install -m 644 conf/gxbusd.conf $(SHARE)/gxbus
	install -m 644 conf/adapters/*.json $(SHARE)/gxbus/adapters
	install -m 644 conf/nginx/*.conf $(SHARE)/gxbus/nginx
	install -m 644 README.md LICENSE docs/*.md $(SHARE)/doc/gxbus
	build/gxbus completion bash >$(SHARE)/bash-completion/completions/gxbus
	sed 's|/usr/|$(PREFIX)/|' conf/systemd/gxbusd@.service \
		>$(DESTDIR)$(PREFIX)/lib/systemd/system/gxbusd@.service

clean:
	@conf/local/ctl clean
	rm -rf build
-include $(shell find build -name '*.d' 2>/dev/null)
