# gxbus.  "make" builds; "make demo" shows it on real servers; "make test" is
# the whole gate.  One object folder per kind of build: build/<KIND>/.
KIND    ?= obj
CC      ?= gcc
OUT     := build/$(KIND)
PKGS    := rdkafka libpq yajl libcrypto libmicrohttpd libcurl libpcre2-8 zlib
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

.PHONY: all clean down demo test unit sim lint bench chaos fuzz asan tsan deps
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
TEST_HELP := $(filter-out tests/unit/t_% tests/unit/sim_%,$(TEST_SRC))
$(OUT)/tests/%: $(OUT)/tests/unit/%.o $(TEST_HELP:%.c=$(OUT)/%.o) $(OUT)/libgx.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka
.SECONDARY:

unit: $(TESTS)
	@for t in $(filter $(OUT)/tests/t_%,$^); do $$t || exit 1; done

clean:
	rm -rf build
-include $(shell find build -name '*.d' 2>/dev/null)
