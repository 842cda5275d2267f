/* Fuzzes a policy file, from the bytes an operator hands us to structs. The same bytes are read as a map file and as
 * domiciled.yaml's structured values too, since all stand on the same fenced parser. What is accepted must hold what
 * the header promises and survive policy_encode and policy_decode; what is refused must say where and why, and leave
 * nothing behind (the leak checker looks).
 *
 * clang -fsanitize=fuzzer,address,undefined over this file, config/, policy/ and base/; -lfyaml. */
#include <assert.h>
#include <stdlib.h>

#include "config/map_file.h"
#include "config/policy_file.h"
#include "config/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a block for some quoted texts (config/README.md). Our own leaks still count. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

static struct config_errors errors;

static void check_errors(bool ok)
{
	if (!ok)
		assert(errors.count > 0);
	assert(errors.count <= CONFIG_ERRORS_MAX);
	for (uint32_t i = 0; i < errors.count; i++) {
		char line[CONFIG_ERROR_TEXT_MAX];
		config_error_format(&errors.at[i], line, sizeof(line));
		assert(errors.at[i].reason[0]);
		if (ok)
			assert(errors.at[i].warning);
		for (const char *c = line; *c; c++)
			assert((unsigned char)*c >= ' ' && (unsigned char)*c < 0x7f);
	}
}

static void check_policy(const struct policy *policy)
{
	static uint8_t block[64 << 10];
	static struct policy decoded;
	struct flaw flaw;
	struct packer packer;
	struct unpacker unpacker;
	bool sound = policy_check(policy, &flaw);
	assert(sound);
	pack_init(&packer, block, sizeof(block));
	policy_encode(policy, &packer);
	assert(!packer.overflow);
	unpack_init(&unpacker, pack_result(&packer));
	enum status status = policy_decode(&unpacker, &decoded);
	assert(status == STATUS_OK);
	assert(policy_equal(policy, &decoded));
}

static void check_policy_file(struct bytes text)
{
	struct policy_file file;
	config_errors_init(&errors);
	bool ok = policy_file_parse("fuzz", text, &file, &errors);
	check_errors(ok);
	for (uint32_t i = 0; i < file.policy_count; i++)
		check_policy(&file.policies[i]);
	for (uint32_t i = 0; i < file.binding_count; i++) {
		const struct binding_text *binding = &file.bindings[i];
		assert(binding->size <= (binding->exact ? (uint32_t)BINDING_KEY_MAX : (uint32_t)BINDING_PREFIX_MAX));
		assert(binding->policy[0]);
		assert(binding->line > 0);
		for (uint32_t j = 0; j < i && i < 50; j++) {
			const struct binding_text *other = &file.bindings[j];
			assert(binding->exact != other->exact || !bytes_equal(bytes_of(binding->bytes, binding->size),
									 bytes_of(other->bytes, other->size)));
		}
	}
	if (policy_file_check_bindings(&file, "fuzz", NULL, NULL, &errors))
		assert(file.binding_count == 0 || file.policy_count > 0);
	policy_file_free(&file);
}

static void check_map_file(struct bytes text)
{
	static struct topology topology;
	config_errors_init(&errors);
	bool ok = topology_parse("fuzz", text, &topology, &errors);
	check_errors(ok);
	for (uint32_t a = 0; ok && a < topology.region_count; a++) {
		for (uint32_t b = 0; b < topology.region_count; b++)
			assert(topology.rtt_us[a][b] == topology.rtt_us[b][a]);
	}
}

static void check_server(struct bytes text)
{
	static struct server_config config;
	if (text.size > 4096 || memchr(text.data, 0, text.size))
		return;
	char *value = malloc(text.size + 1);
	if (!value)
		abort();
	memcpy(value, text.data, text.size);
	value[text.size] = 0;
	char *arguments[] = { "--cluster=c", "--place=a/b/c", "--listen", value, "--join", value, "--advertise.from",
		value, "--cache", value, value, NULL };
	config_errors_init(&errors);
	check_errors(config_server_load(NULL, arguments, NULL, &config, &errors));
	free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *block = malloc(size + 1); /* never NULL, and of the size it says */
	if (!block)
		abort();
	if (size > 0)
		memcpy(block, data, size);
	check_policy_file(bytes_of(block, size));
	if (size > 0 && size < 2000) {
		check_map_file(bytes_of(block, size));
		check_server(bytes_of(block, size));
	}
	free(block);
	return 0;
}
