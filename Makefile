# Domicile: plain GNU make. `make help` lists the targets.
#
# Each folder is one static archive, and the archives a thing may link are the folders it may use
# (docs/architecture.md has the graph): a wrong edge fails at link, a wrong include in `make check-layers`.

VERSION   := 0.1.0
VARIANT   ?= release
BUILD     ?= build
OUT       := $(BUILD)/$(VARIANT)
CC        ?= gcc
AR        ?= ar
PREFIX    ?= /usr/local
DESTDIR   ?=
V         ?= 0
Q         := $(if $(filter 1,$(V)),,@)

WARNINGS  := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
HARDENING := -fstack-protector-strong -fPIC
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2
CFLAGS_debug   := -O0 -g3
CFLAGS_asan    := -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_ubsan   := -O1 -g1 -fsanitize=undefined -fno-sanitize-recover=all
CFLAGS_tsan    := -O1 -g1 -fsanitize=thread
CFLAGS_nofsync := -O2 -g -DDOMICILE_TEST_NO_FDATASYNC
ifeq ($(CFLAGS_$(VARIANT)),)
$(error unknown VARIANT '$(VARIANT)': release, debug, asan, ubsan, tsan)
endif
# Assertions stay on in every variant: nothing here defines NDEBUG.
CFLAGS_ALL := -std=gnu11 $(WARNINGS) $(HARDENING) $(CFLAGS_$(VARIANT)) -I. -DDOMICILE_VERSION='"$(VERSION)"' $(CFLAGS)
LDFLAGS_ALL := $(filter -fsanitize%,$(CFLAGS_$(VARIANT))) -Wl,-z,relro,-z,now $(LDFLAGS)

PKG = $(shell pkg-config --libs $(1) 2>/dev/null)
LIBS_base    := $(call PKG,libxxhash)
LIBS_wire    := $(call PKG,liblz4) $(call PKG,libevent) $(call PKG,openssl)
LIBS_config  := $(call PKG,libfyaml)
LIBS_storage := $(call PKG,rocksdb) $(call PKG,liblz4)
LIBS_server  := $(call PKG,libevent) $(call PKG,openssl)
LIBS_client  := $(call PKG,libevent) $(call PKG,libevent_pthreads) $(call PKG,openssl)
LIBS_tools   := $(call PKG,jansson)
LIBS_bench   := -lm $(call PKG,zlib)

# --- folders ---------------------------------------------------------------------------------
FOLDERS := base wire policy config replication storage server client
# Which archives a folder may use, in link order (itself first).
USES_base        := base
USES_wire        := wire base
USES_policy      := policy base
USES_config      := config policy base
USES_replication := replication wire policy base
USES_storage     := storage policy base
USES_server      := server replication storage config wire policy base
USES_client      := client wire policy base
USES_tools       := client config wire policy base
USES_bench       := client config wire policy base

sources = $(sort $(wildcard $(1)/*.c))
objects = $(patsubst %.c,$(OUT)/obj/%.o,$(1))
archives = $(foreach f,$(1),$(OUT)/lib/lib$(f).a)
libs = $(foreach f,$(1),$(LIBS_$(f))) -lpthread

# server/main.c, client-free entry points and the like never enter an archive.
MAINS := server/main.c
$(foreach f,$(FOLDERS),$(eval SRC_$(f) := $(filter-out $(MAINS),$(call sources,$(f)))))

.PHONY: all
all: $(OUT)/bin/domiciled $(OUT)/bin/domctl $(OUT)/bin/dombench $(OUT)/bin/wanlab $(OUT)/lib/libdomicile.so $(OUT)/lib/libdomicile.a $(OUT)/lib/domicile.pc

$(OUT)/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(filter 1,$(V)),,echo "  CC      $<")
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS_$(subst /,_,$(patsubst %/,%,$(dir $*)))) -MMD -MP -c $< -o $@

define FOLDER_RULES
$(OUT)/lib/lib$(1).a: $(call objects,$(SRC_$(1)))
	@mkdir -p $$(@D)
	@$$(if $$(filter 1,$$(V)),,echo "  AR      $$@")
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call FOLDER_RULES,$(f))))

link = @mkdir -p $(@D); $(if $(filter 1,$(V)),,echo "  LINK    $@"); $(CC) $(LDFLAGS_ALL) -o $@

$(OUT)/bin/domiciled: $(call objects,server/main.c) $(call archives,$(USES_server))
	$(link) $^ $(call libs,$(USES_server))
$(OUT)/bin/domctl: $(call objects,$(call sources,tools)) $(call archives,$(USES_tools))
	$(link) $^ $(LIBS_tools) $(call libs,$(USES_tools))
$(OUT)/bin/dombench: $(call objects,$(call sources,bench) $(wildcard tests/lib/linearizability.c)) $(call archives,$(USES_bench))
	$(link) $^ $(LIBS_bench) $(LIBS_tools) $(call libs,$(USES_bench))

# The WAN lab: not installed, and nothing of it enters the product.
.PHONY: wanlab
wanlab: $(OUT)/bin/wanlab
$(OUT)/bin/wanlab: $(call objects,$(call sources,bench/wan) bench/histogram.c) $(call archives,config policy base)
	$(link) $^ $(LIBS_tools) $(call libs,config policy base)

CLIENT_ARCHIVES := $(call archives,$(USES_client))
$(OUT)/lib/libdomicile.so.0: $(CLIENT_ARCHIVES) client/domicile.map
	$(link) -shared -Wl,-soname,libdomicile.so.0 -Wl,--version-script=client/domicile.map \
	  -Wl,--whole-archive $(CLIENT_ARCHIVES) -Wl,--no-whole-archive $(call libs,$(USES_client))
$(OUT)/lib/libdomicile.so: $(OUT)/lib/libdomicile.so.0
	@ln -sf $(<F) $@
# One archive for static linking: the objects of the client and of the folders below it.
$(OUT)/lib/libdomicile.a: $(foreach f,$(USES_client),$(call objects,$(SRC_$(f))))
	@mkdir -p $(@D)
	@rm -f $@ && $(AR) rcs $@ $^
$(OUT)/lib/domicile.pc: Makefile
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' 'Name: domicile' \
	  'Description: client library of the Domicile key-value store' 'Version: $(VERSION)' 'Libs: -L$${libdir} -ldomicile' \
	  'Libs.private: -lpthread' 'Requires.private: libevent, libevent_pthreads, openssl, liblz4, libxxhash' \
	  'Cflags: -I$${includedir}' > $@

# --- unit tests: tests/unit/<folder>/test_<noun>.c, linked with only what the folder may use -----
UNIT_SOURCES := $(sort $(wildcard tests/unit/*/test_*.c))
ifneq ($(FILTER),)
UNIT_SOURCES := $(foreach s,$(UNIT_SOURCES),$(if $(findstring $(FILTER),$(s)),$(s)))
endif
# policy/ and replication/ have no threads to race: check-purity proves it.
ifeq ($(VARIANT),tsan)
UNIT_SOURCES := $(filter-out tests/unit/policy/% tests/unit/replication/%,$(UNIT_SOURCES))
endif
UNIT_BINS := $(patsubst tests/%.c,$(OUT)/tests/%,$(UNIT_SOURCES))
define UNIT_RULE
$(OUT)/tests/unit/$(1)/%: $(OUT)/obj/tests/unit/$(1)/%.o $(call archives,$(USES_$(1)))
	$$(link) $$^ -lcmocka $(LIBS_$(1)) $(call libs,$(USES_$(1)))
endef
$(foreach f,$(FOLDERS) tools bench,$(eval $(call UNIT_RULE,$(f))))
.PRECIOUS: $(OUT)/obj/%.o

.PHONY: unit
# Under a sanitizer the randomised tests make fewer runs; the seeds that they do make are the same.
UNIT_ENV_asan := RUNS=10 DRIVER_RUNS=4
UNIT_ENV_ubsan := $(UNIT_ENV_asan)
UNIT_ENV_tsan := RUNS=3 DRIVER_RUNS=2 TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp
unit: $(UNIT_BINS)
	$(Q)$(UNIT_ENV_$(VARIANT)) tests/run-unit $(UNIT_BINS)

-include Makefile.checks
-include Makefile.tests
-include $(wildcard $(OUT)/obj/*/*.d $(OUT)/obj/*/*/*.d $(OUT)/obj/*/*/*/*.d)
