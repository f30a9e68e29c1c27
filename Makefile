# Gyre. `make help` lists the targets.
#
# Each kind of build has a folder of its own under build/; programs land in bin/ (release) or in
# build/KIND/bin. There is no list of files: every src/**/*.cc belongs to the library except the
# ones that hold a main (src/server/main.cc, src/tools/*.cc).
#
# Kinds: release, clang (clang++-14), asan (address and undefined), tsan, fuzz. A file is compiled
# again when it, a header of it, or the flags changed; WERROR alone does not count as a change.

SHELL := /bin/bash
.DEFAULT_GOAL := release
KIND ?= release
CXX := $(if $(filter clang% fuzz,$(KIND)),clang++-14,g++)
OUT := build/$(KIND)
BIN := $(if $(filter release,$(KIND)),bin,$(OUT)/bin)
WERROR ?=
CCACHE := $(shell command -v ccache 2>/dev/null)
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
DESTDIR ?=

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow
CPPFLAGS += -Isrc -D_GNU_SOURCE
CXXFLAGS += -std=c++20 -g $(WARN)
OPT_release := -O2
OPT_clang := -O2
OPT_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
OPT_tsan := -O1 -fno-omit-frame-pointer -fsanitize=thread
OPT_fuzz := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
CXXFLAGS += $(OPT_$(KIND))
LDFLAGS += $(filter -fsanitize=%,$(OPT_$(KIND)))
LIBS := -luv -lhiredis -lrocksdb -lxxhash -llzf -lcrypto -lpthread
# Lua and its modules are static: as shared objects these would bring the Lua that is compiled as C.
LIBS += -l:liblua5.1-cjson.a -l:liblua5.1-bitop.a -l:liblua5.1-c++.a
ifneq ($(filter release clang,$(KIND)),)
LIBS += -ljemalloc
endif
ifneq ($(filter-out release clang asan tsan fuzz,$(KIND)),)
$(error KIND is release, clang, asan, tsan or fuzz, not '$(KIND)')
endif

SOURCES := $(shell find src -name '*.cc' | sort)
MAINS := $(wildcard src/server/main.cc src/tools/*.cc)
LIB_SOURCES := $(filter-out $(MAINS),$(SOURCES))
# Fuzz targets need the rooms below coordination; compiling the rest takes most of the time.
ifeq ($(KIND),fuzz)
LIB_SOURCES := $(filter-out $(patsubst %,src/%/%,tools server acl script coordination hints membership sync net),$(LIB_SOURCES))
endif
LIB := $(OUT)/libgyre.a
TEST_SOURCES := $(shell find tests/unit tests/sim -name '*.cc' 2>/dev/null | sort)
FUZZ_SOURCES := $(wildcard tests/fuzz/*.cc)
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.cc,$(OUT)/bin/fuzz-%,$(FUZZ_SOURCES))
TOOL_NAMES := $(patsubst src/tools/%.cc,%,$(wildcard src/tools/*.cc))
PROGRAMS := $(if $(wildcard src/server/main.cc),$(BIN)/gyre-server) $(addprefix $(BIN)/gyre-,$(subst _,-,$(TOOL_NAMES)))
FORMATTED := $(shell find src tests -name '*.cc' -o -name '*.h' | sort)

obj = $(patsubst %.cc,$(OUT)/obj/%.o,$(1))

# --- Building --------------------------------------------------------------------------------

.PHONY: release
release: ## build bin/gyre-server and the tools (the default)
	@$(MAKE) --no-print-directory -j$(JOBS) programs
.PHONY: programs
programs: $(PROGRAMS)
.PHONY: objects
objects: $(call obj,$(SOURCES) $(TEST_SOURCES) $(FUZZ_SOURCES))

# Files that change only when their text does: what was compiled with, and what the library is of.
stamp = $(shell mkdir -p $(OUT); echo '$(2)' | cmp -s - $(OUT)/$(1) || echo '$(2)' > $(OUT)/$(1))
$(call stamp,flags,$(CXX) $(CPPFLAGS) $(CXXFLAGS))
$(call stamp,members,$(LIB_SOURCES))
$(call stamp,tests,$(TEST_SOURCES))

$(OUT)/obj/%.o: %.cc $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  CXX $(KIND) $<"
	@$(CCACHE) $(CXX) $(CPPFLAGS) $(CXXFLAGS) $(if $(WERROR),-Werror) -MMD -MP -c $< -o $@

$(LIB): $(call obj,$(LIB_SOURCES)) $(OUT)/members
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $(filter %.o,$^)

LINK = mkdir -p $(@D) && echo "  LINK $@" && $(CXX) $(LDFLAGS) $(1) -o $@ $(filter %.o %.a,$^) $(LIBS)

$(BIN)/gyre-server: $(OUT)/obj/src/server/main.o $(LIB)
	@$(call LINK,-rdynamic)

define TOOL_RULE
$(BIN)/gyre-$(subst _,-,$(1)): $(OUT)/obj/src/tools/$(1).o $(LIB)
	@$$(call LINK)
endef
$(foreach t,$(TOOL_NAMES),$(eval $(call TOOL_RULE,$(t))))

$(OUT)/bin/gyre-tests: $(call obj,$(TEST_SOURCES)) $(LIB) $(OUT)/tests
	@$(call LINK)

$(OUT)/bin/fuzz-%: $(OUT)/obj/tests/fuzz/%.o $(LIB)
	@$(call LINK,-fsanitize=fuzzer)
$(OUT)/bin/replay-%: $(OUT)/obj/tests/fuzz/%.o $(OUT)/obj/tests/fuzz/replay/main.o $(LIB)
	@$(call LINK)
.SECONDARY: $(call obj,$(FUZZ_SOURCES) tests/fuzz/replay/main.cc)

.PHONY: clang
clang: ## build everything with clang++-14 as well, into build/clang
	@$(MAKE) --no-print-directory -j$(JOBS) KIND=clang programs build/clang/bin/gyre-tests

# --- Testing ---------------------------------------------------------------------------------
# Each suite closes with `N passed, N failed`; .ci/suites sums them and decides the exit code.

SYSTEM_QUICK ?= --quick
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
SEEDS ?= 1..30
ARGS ?=
SAN_ENV := ASAN_OPTIONS=detect_stack_use_after_return=1:$$ASAN_OPTIONS \
  UBSAN_OPTIONS=print_stacktrace=1:$$UBSAN_OPTIONS \
  TSAN_OPTIONS=suppressions=$(CURDIR)/.ci/tsan.supp:halt_on_error=0:$$TSAN_OPTIONS

# A script that is not in the tree yet: say so and fail, rather than pass by doing nothing.
run_script = @test -x $(1) || { echo "$@: $(1) is not written yet"; exit 1; }; exec $(1) $(2)

SHIM := build/shim/shim.so
.PHONY: shim
shim: $(SHIM)
$(SHIM): tests/system/shim/shim.c
	@mkdir -p $(@D)
	@echo "  CC $@"
	@gcc -O2 -g -Wall -Wextra $(if $(WERROR),-Werror) -shared -fPIC -o $@ $< -ldl

.PHONY: unit
unit: ## build and run the unit tests; T=ring runs one room
	@$(MAKE) --no-print-directory -j$(JOBS) $(OUT)/bin/gyre-tests
	@$(SAN_ENV) $(OUT)/bin/gyre-tests $(if $(T),-sf='*$(T)/*') $(ARGS)

.PHONY: test
test: ## unit tests and the quick system tests; T=ring: the unit tests of one room
ifneq ($(T),)
	@$(MAKE) --no-print-directory unit
else
	@$(MAKE) --no-print-directory release shim
	@.ci/suites unit='$(MAKE) --no-print-directory unit' sim='$(MAKE) --no-print-directory sim SEEDS=1..40 ARGS=--brief' \
	  $(if $(wildcard tests/system/run),system='tests/system/run $(SYSTEM_QUICK)')
endif

.PHONY: sim
sim: ## whole clusters in the simulator; SEEDS=1..30 or SEED=42
	@$(MAKE) --no-print-directory -j$(JOBS) $(BIN)/gyre-sim
	@$(BIN)/gyre-sim $(if $(SEED),$(SEED),$(SEEDS)) $(ARGS)
# Other seeds on each run, so that many runs see many: from the clock, printed with the failures.
SIM_CI_SEEDS ?= 40
SIM_CI_FIRST ?= $(shell echo $$(($$(date +%s) / 60 * 100 % 100000000)))
.PHONY: sim-ci
sim-ci: ## a small set of seeds that differs from run to run; SIM_CI_SEEDS=40
	@$(MAKE) --no-print-directory -j$(JOBS) $(BIN)/gyre-sim
	@$(eval first := $(SIM_CI_FIRST))echo "sim: seeds $(first)..$$(($(first) + $(SIM_CI_SEEDS) - 1)); make sim SEED=n runs one of them again"
	@$(BIN)/gyre-sim $(first)..$$(($(first) + $(SIM_CI_SEEDS) - 1)) --brief

.PHONY: system
system: release shim ## all system tests: real processes, some killed
	$(call run_script,tests/system/run,$(ARGS))
.PHONY: soak
soak: release shim ## mixed faults for SOAK_SECONDS (600), and the long system tests; SEED=n: its plan again
	@SOAK_SECONDS=$(SOAK_SECONDS) SOAK_SEED=$(SEED) tests/system/run --soak $(ARGS)
.PHONY: compat
compat: release ## Redis' own test suite and client libraries against a node
	$(call run_script,redis-compat/run,$(ARGS))
.PHONY: clients clients-kill
clients: release ## client libraries, redis-cli and applications against a node and a ring; ARGS='redis-py'
	$(call run_script,tests/clients/run,$(ARGS))
clients-kill: release ## those on a ring, a node of it killed in the middle; ARGS='bullmq redlock'
	$(call run_script,tests/clients/run,--kill $(ARGS))
.PHONY: compat-random
compat-random: release ## random commands, replies beside redis-server's; SEEDS=1..1000 ARGS='--families sets --jobs 2'
	$(call run_script,redis-compat/random/run,$(SEEDS) $(ARGS))
.PHONY: bench bench-bars bench-instructions
bench: release ## figures, interleaved with redis-server; SUITE=commands, ARGS='--rounds 5'; --help lists the suites
	$(call run_script,tests/bench/run,$(ARGS))
bench-bars: release ## the rows that must hold against redis-server; ARGS='--rows get,memory'
	$(call run_script,tests/bench/run,bars $(ARGS))
bench-instructions: release ## user instructions per operation by callgrind; ARGS=--quick: GET and SET
	$(call run_script,tests/bench/run,instructions $(ARGS))
.PHONY: demo
demo: release ## three nodes, real data, one killed, nothing lost
	$(call run_script,tests/system/demo,$(ARGS))
.PHONY: compose-check
compose-check: ## check conf/compose; where podman can start, build and run it
	@tests/system/compose_check $(ARGS)

# Sanitizers run the unit suite; SYSTEM=1 adds the quick system tests with that server.
sanitized = $(MAKE) --no-print-directory -j$(JOBS) KIND=$@ $(if $(SYSTEM),programs $(SHIM)) build/$@/bin/gyre-tests && \
  .ci/suites unit='$(MAKE) --no-print-directory KIND=$@ unit' \
    $(if $(SYSTEM),system='$(SAN_ENV) GYRE_SLOW=$(if $(filter tsan,$@),6,3) GYRE_SERVER=$(CURDIR)/build/$@/bin/gyre-server tests/system/run $(SYSTEM_QUICK)')
.PHONY: asan tsan
asan: ## tests under the address and undefined sanitizers; SYSTEM=1: system tests too
	@$(sanitized)
tsan: ## tests under the thread sanitizer; SYSTEM=1: system tests too
	@$(sanitized)

.PHONY: fuzz fuzz-programs fuzz-replay replay-programs
fuzz-programs: $(FUZZ_PROGRAMS)
replay-programs: $(patsubst tests/fuzz/%.cc,$(OUT)/bin/replay-%,$(FUZZ_SOURCES))
fuzz: ## each target of tests/fuzz for FUZZ_SECONDS (60), or FUZZ_RUNS inputs; F='name ...': only these
	@$(MAKE) --no-print-directory -j$(JOBS) KIND=fuzz fuzz-programs
	@FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_RUNS=$(FUZZ_RUNS) .ci/fuzz \
	  $(addprefix build/fuzz/bin/fuzz-,$(if $(F),$(F),$(patsubst tests/fuzz/%.cc,%,$(FUZZ_SOURCES))))
fuzz-replay: ## each target over tests/fuzz/seeds and FUZZ_RUNS (20000) inputs without libFuzzer; KIND=asan: checked
	@$(MAKE) --no-print-directory -j$(JOBS) replay-programs
	@$(SAN_ENV) FUZZ_RUNS=$(or $(FUZZ_RUNS),20000) .ci/fuzz --replay \
	  $(addprefix $(OUT)/bin/replay-,$(if $(F),$(F),$(patsubst tests/fuzz/%.cc,%,$(FUZZ_SOURCES))))

# --- Care ------------------------------------------------------------------------------------

TIDY ?= changed
.PHONY: lint
lint: ## layers, cycles, headers alone, words, clang-tidy; TIDY=all|changed|no
	@python3 tests/lint/lint.py --jobs $(JOBS) --tidy $(TIDY) --flags '$(CPPFLAGS) -std=c++20 $(WARN)'
.PHONY: format format-check
format: ## lay out the sources by .clang-format
	@clang-format-14 -i $(FORMATTED)
format-check: ## fail when a source is not laid out so
	@clang-format-14 --dry-run --Werror $(FORMATTED)

# --- Machine ---------------------------------------------------------------------------------

.PHONY: deps deps-dev
deps: ## install what builds and runs Gyre (deps/packages, group run)
	@deps/install run
deps-dev: ## install what checks it: clang, linters, redis-server, client libraries (groups dev, clients)
	@deps/install dev
	@deps/install clients

.PHONY: install
install: release ## install programs and gyre.conf; PREFIX, DESTDIR
	@install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/gyre'
	@$(if $(PROGRAMS),install -m 755 $(PROGRAMS) '$(DESTDIR)$(PREFIX)/bin/',echo 'there is no program yet'; exit 1)
	@install -m 644 $(wildcard conf/gyre.conf conf/gyre.service) LICENSE '$(DESTDIR)$(PREFIX)/share/gyre/'

.PHONY: clean
clean: ## remove what was built; caches of lint and fuzz stay in .cache
	@rm -rf build bin

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-19s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

-include $(patsubst %.cc,$(OUT)/obj/%.d,$(SOURCES) $(TEST_SOURCES) $(FUZZ_SOURCES) tests/fuzz/replay/main.cc)
