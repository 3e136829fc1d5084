# Posthouse. GNU make, one file. Everything that is made stands in build/, as a mirror of the source tree.
#
#   make                     library and binary           make check            lint scripts and every test
#   make check T=unit/base   only tests so named          make unit             unit tests only
#   make lint                scripts, clang-tidy, man     make asan | tsan      make check under sanitizers
#   make fuzz                FUZZ_SECONDS=30 a target     make soak | bench     long runs, measurements
#   make install             DESTDIR, PREFIX              make quickstart       a server to try, in var/
#   make debug               t/proto with the reactors' time budget watched
#
# Variables: CC=clang (builds in build/clang), BUILD=dir, ROOMS="base reactor" (only these folders of src and their
# tests), JOBS=2 (tests at a time), T=pattern, SEED=number (soak), QUICK=1 (bench).

# ---- the build directory and its flavour ---------------------------------------------------------------------------

CLANG   := $(findstring clang,$(CC))
BUILD   ?= build$(if $(CLANG),/clang)
DEPS    := build/deps
JOBS    ?= 2
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
MANDIR  ?= $(PREFIX)/share/man
DOCDIR  ?= $(PREFIX)/share/doc/posthouse
UNITDIR ?= $(PREFIX)/lib/systemd/system
FUZZ_SECONDS ?= 30
ROOMS   ?= $(notdir $(patsubst %/,%,$(wildcard src/*/)))

.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Werror

# SAN: empty, address, thread or fuzzer; set by the targets asan, tsan and fuzz
ifeq ($(SAN),address)
  HARDEN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
  SANLD  := $(HARDEN) $(if $(CLANG),,-static-libasan)
else ifeq ($(SAN),thread)
  HARDEN := -fsanitize=thread -fno-omit-frame-pointer -O1
  SANLD  := $(HARDEN) $(if $(CLANG),,-static-libtsan)
  WRAP   := $(shell setarch -R true 2>/dev/null && echo setarch -R)
else ifeq ($(SAN),fuzzer)
  HARDEN := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
  SANLD  := $(subst fuzzer-no-link,fuzzer,$(HARDEN))
else
  FORTIFY := $(if $(CLANG),2,$(shell test "$$($(CC) -dumpversion 2>/dev/null | cut -d. -f1)" -ge 12 2>/dev/null && echo 3 || echo 2))
  HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(FORTIFY)
endif

CPPFLAGS += -D_GNU_SOURCE -Isrc -isystem $(DEPS)/include
CFLAGS   ?=
ALL_CFLAGS = -std=gnu17 -O2 -g $(WARN) -fstack-protector-strong $(HARDEN) -fPIE -pthread $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -Wl,--as-needed -pthread $(SANLD) $(LDFLAGS)
# libev static: the shared one also has libevent's names, which libunbound would get instead of libevent's own
LIBS := $(addprefix $(DEPS)/lib/,libmbedtls.a libmbedx509.a libmbedcrypto.a liblmdb.a) \
        -l:libev.a -ljansson -lsasl2 -lzstd -lidn2 -lunbound -lcrypt -lm
# Tests may lose precision, and see their helpers
TEST_CFLAGS = $(ALL_CFLAGS) -Wno-conversion -Wno-sign-conversion -It/lib -It

# ---- what there is -------------------------------------------------------------------------------------------------

# match FILES: those whose name (without t/) holds T; everything without T, or when T is a glob
match = $(if $(T),$(if $(findstring *,$(T)),$(1),$(foreach f,$(1),$(if $(findstring $(T),$(f:t/%=%)),$(f)))),$(1))
find  = $(if $(wildcard $(1)),$(sort $(shell find $(1) -type f $(2))))

MAIN_SRC  := $(wildcard src/config/main.c)
LIB_SRC   := $(filter-out src/config/main.c,$(foreach r,$(ROOMS),$(call find,src/$(r),-name '*.c')))
UNIT_SRC  := $(call match,$(foreach r,$(ROOMS),$(call find,t/unit/$(r),-name '*.c')))
FUZZ_SRC  := $(call match,$(foreach r,$(ROOMS),$(wildcard t/fuzz/$(r)/*.c)))
TLIB_SRC  := $(wildcard t/lib/*.c)
FAULT_SRC := $(call find,t/fault,-name '*.c')
BENCH_SRC := $(call find,t/bench,-name '*.c')
PROTO_TESTS := $(call match,$(call find,t/proto,-name '*.test'))
FAULT_TESTS := $(call match,$(call find,t/fault,-name '*.test'))
SOAK_TESTS  := $(call match,$(call find,t/soak,-perm -u+x))
BENCHES     := $(call match,$(call find,t/bench,-perm -u+x ! -name '*.c'))

LIB      := $(BUILD)/libposthouse.a
TLIB     := $(BUILD)/t/libtest.a
BINARY   := $(if $(MAIN_SRC),$(BUILD)/posthouse)
UNIT     := $(UNIT_SRC:%.c=$(BUILD)/%)
FUZZ     := $(FUZZ_SRC:%.c=$(BUILD)/%)
FUZZERS  := $(FUZZ_SRC:%.c=$(BUILD)/%.fuzzer)
PRELOAD  := $(foreach f,$(FAULT_SRC),$(if $(filter preload_%,$(notdir $(f))),$(f:%.c=$(BUILD)/%.so)))
FAULT    := $(foreach f,$(FAULT_SRC),$(if $(filter preload_%,$(notdir $(f))),,$(f:%.c=$(BUILD)/%)))
BENCH    := $(BENCH_SRC:%.c=$(BUILD)/%)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
TLIB_OBJ := $(TLIB_SRC:%.c=$(BUILD)/%.o)
PROGRAMS_OBJ := $(addsuffix .o,$(UNIT) $(FUZZ) $(FAULT) $(BENCH)) $(BUILD)/t/fuzz/driver.o
CHECKS   := $(if $(SAN),,$(wildcard $(addprefix scripts/check-,layers size tour rfc rows keys)))

.PHONY: all check unit fuzz-replay fault proto lint tidy asan tsan debug fuzz fuzz-run soak bench quickstart install \
        uninstall clean FORCE

all: $(LIB) $(BINARY)

# ---- libraries we bring --------------------------------------------------------------------------------------------

$(DEPS)/stamp: $(wildcard third_party/build third_party/debian-sources third_party/*.sh third_party/*.h)
	@echo "make: the bundled libraries are missing or their recipe changed; running third_party/build"
	third_party/build

# ---- compiling -----------------------------------------------------------------------------------------------------

# A file that changes only when its text does: objects follow the flags, the archive follows the list of sources.
define keep
	@mkdir -p $(@D)
	@printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' >$@
endef

$(BUILD)/flags: FORCE
	$(call keep,$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS))

$(BUILD)/sources: FORCE
	$(call keep,$(LIB_SRC) $(TLIB_SRC))

$(BUILD)/src/%.o: src/%.c $(BUILD)/flags $(DEPS)/stamp
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/t/%.o: t/%.c $(BUILD)/flags $(DEPS)/stamp
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(TEST_CFLAGS) -MMD -MP -c $< -o $@

# Thin archives with q: files of the same name in two folders must not replace each other
$(LIB): $(LIB_OBJ) $(BUILD)/sources
	@echo "  AR    $@"
	@rm -f $@ && ar qcsT $@ $(LIB_OBJ)

$(TLIB): $(TLIB_OBJ) $(BUILD)/sources
	@mkdir -p $(@D)
	@rm -f $@ && ar qcsT $@ $(TLIB_OBJ)

link = @echo "  LINK  $@"; $(CC) $(ALL_LDFLAGS) -o $@ $(1) $(LIBS)

$(BUILD)/posthouse: $(BUILD)/src/config/main.o $(LIB)
	$(call link,$^)

$(UNIT): %: %.o $(TLIB) $(LIB)
	$(call link,$^ -lcmocka)

$(FAULT) $(BENCH): %: %.o $(TLIB) $(LIB)
	$(call link,$^)

$(FUZZ): %: %.o $(BUILD)/t/fuzz/driver.o $(TLIB) $(LIB)
	$(call link,$^)

$(FUZZERS): %.fuzzer: %.o $(TLIB) $(LIB)
	$(call link,$^)

# Preloaded objects stay free of sanitizers and of our library
$(PRELOAD): $(BUILD)/%.so: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) -std=gnu17 -O2 -g $(WARN) -Wno-conversion -Wno-sign-conversion -D_GNU_SOURCE -fPIC -shared -pthread \
	    -MMD -MP -MF $(@:.so=.d) $< -o $@ -ldl

.SECONDARY:
-include $(patsubst %.o,%.d,$(LIB_OBJ) $(TLIB_OBJ) $(PROGRAMS_OBJ)) $(PRELOAD:.so=.d) $(BUILD)/src/config/main.d

# ---- testing -------------------------------------------------------------------------------------------------------

export TOP := $(CURDIR)
RUN = BUILD='$(abspath $(BUILD))' POSTHOUSE='$(abspath $(BUILD)/posthouse)' SAN='$(SAN)' \
      t/lib/run-tests --jobs '$(JOBS)' --match '$(T)' --wrap '$(WRAP)'

check: all $(UNIT) $(FUZZ) $(FAULT) $(PRELOAD)
	@$(RUN) --lint $(CHECKS) --unit $(UNIT) --fuzz $(FUZZ) --fault $(FAULT_TESTS) --proto $(PROTO_TESTS)

unit: $(UNIT)
	@$(RUN) --unit $(UNIT)

fuzz-replay: $(FUZZ)
	@$(RUN) --fuzz $(FUZZ)

fault: all $(FAULT) $(PRELOAD)
	@$(RUN) --fault $(FAULT_TESTS)

proto: all $(PRELOAD)
	@$(RUN) --proto $(PROTO_TESTS)

asan:
	+$(MAKE) --no-print-directory SAN=address BUILD=build/asan check

tsan:
	+$(MAKE) --no-print-directory SAN=thread BUILD=build/tsan check

# Readers of the index and callbacks of reactors watch their time; logs of servers that were over it are shown
debug:
	+$(MAKE) --no-print-directory CFLAGS='$(CFLAGS) -DPH_DEBUG' BUILD=build/debug proto

fuzz:
	+$(MAKE) --no-print-directory SAN=fuzzer CC=clang BUILD=build/fuzz fuzz-run

fuzz-run: $(FUZZERS)
	@$(RUN) --seconds $(FUZZ_SECONDS) --fuzzer $(FUZZERS)

soak: all $(FAULT) $(PRELOAD)
	@SOAK=1 $(RUN) --seed '$(SEED)' --result $(BUILD)/soak --timeout 7200 --soak $(SOAK_TESTS) --fault $(FAULT_TESTS)

# Rows also go to $(BUILD)/bench/RESULTS.tsv; with T=bench/smtp only those of t/bench/smtp are measured again. A bench
# that fails does not keep the others from running.
bench: all $(BENCH)
	@rm -f $(if $(T),,'$(BUILD)/bench/RESULTS.tsv')
	@rc=0; for b in $(BENCHES); do echo "== $$b"; BUILD='$(abspath $(BUILD))' QUICK='$(QUICK)' \
	    POSTHOUSE='$(abspath $(BUILD)/posthouse)' timeout -k 30 3600 "$$b" || { rc=1; echo "== $$b FAILED"; }; \
	    done; exit $$rc

lint: tidy
	@set -e; for c in $(CHECKS); do BUILD='$(abspath $(BUILD))' $$c; done
	@set -e; for m in $(wildcard man/*.[1-9]); do mandoc -T lint -W warning $$m; done
	@echo "lint: clean"

TIDY := $(patsubst %.c,$(BUILD)/tidy/%.ok,$(LIB_SRC) $(MAIN_SRC))
tidy: $(TIDY)

$(BUILD)/tidy/%.ok: %.c .clang-tidy $(DEPS)/stamp
	@mkdir -p $(@D)
	@echo "  TIDY  $<"
	@clang-tidy --quiet $< -- -std=gnu17 $(CPPFLAGS) -MD -MP -MT $@ -MF $(@:.ok=.d) && touch $@
-include $(TIDY:.ok=.d)

# ---- trying and installing -----------------------------------------------------------------------------------------

# It bootstraps and builds by itself: on a fresh machine not even the headers are there yet
quickstart:
	@BUILD='$(BUILD)' POSTHOUSE='$(abspath $(BUILD)/posthouse)' scripts/quickstart

MANPAGES := $(wildcard man/*.[1-9])
EXAMPLES := $(wildcard conf/*.json conf/*.md)

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(DOCDIR)/examples
	install -m 755 $(BUILD)/posthouse $(DESTDIR)$(BINDIR)/posthouse
	$(foreach m,$(MANPAGES),install -D -m 644 $(m) $(DESTDIR)$(MANDIR)/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m)) &&) :
	$(if $(EXAMPLES),install -m 644 $(EXAMPLES) $(DESTDIR)$(DOCDIR)/examples/)
	if test -f conf/posthouse.service; then install -d $(DESTDIR)$(UNITDIR) && \
	    sed 's,@BINDIR@,$(BINDIR),g' conf/posthouse.service >$(DESTDIR)$(UNITDIR)/posthouse.service; fi

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/posthouse $(DESTDIR)$(UNITDIR)/posthouse.service
	$(foreach m,$(MANPAGES),rm -f $(DESTDIR)$(MANDIR)/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m)) &&) :
	rm -rf $(DESTDIR)$(DOCDIR)

# The bundled libraries stay; remove build/ itself to fetch and build them anew
clean:
	@test ! -d build || find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} +
	@case '$(BUILD)' in build|build/*) ;; *) rm -rf '$(BUILD)' ;; esac
