/* Fuzzes what an auditor reads: the input as one record (what decodes encodes to the same bytes, and is put to an
 * audit), and as a file of a ledger, with the checksums of its header and of whatever could be a batch's head set
 * right, so that the fuzzer gets past them. Whatever the bytes, a scan ends with a status and within the file. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "policy/audit.h"
#include "policy/ledger_segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 64 << 10, HEAD_SIZE = 104 };

static void on_finding(void *arg, const struct audit_finding *finding)
{
	assert(finding->what);
	(*(unsigned *)arg)++;
}

static void one_record(struct bytes input)
{
	static uint8_t again[LEDGER_RECORD_MAX];
	static void *memory;
	struct ledger_record record;
	struct packer packer;
	struct place place;
	unsigned findings = 0;
	if (ledger_record_decode(input, &record) != STATUS_OK)
		return;
	pack_init(&packer, again, sizeof(again));
	ledger_record_encode(&record, &packer);
	assert(bytes_equal(pack_result(&packer), input));
	if (!memory)
		memory = malloc(audit_size());
	if (!memory || !place_parse("eu/ie/eu-west-1/a/n1", &place, NULL))
		abort();
	struct audit *audit = audit_init(memory, &place, on_finding, &findings);
	for (unsigned i = 0; i < 3; i++)
		audit_record(audit, &record);
}

static void set_check(uint8_t *at, size_t size)
{
	struct packer packer;
	pack_init(&packer, at + size - 8, 8);
	pack_u64(&packer, hash64(bytes_of(at, size - 8)));
}

static bool count(
	void *arg, const struct ledger_record *record, struct bytes encoded, const struct ledger_position *behind)
{
	assert(record->sequence == behind->sequence);
	assert(encoded.size > 0);
	(*(uint64_t *)arg)++;
	return true;
}

static void one_file(struct bytes input)
{
	struct ledger_scan scan;
	uint64_t records = 0;
	enum status status = ledger_segment_scan(input, true, count, &records, &scan);
	assert(scan.end <= input.size || status != STATUS_OK);
	if (status == STATUS_INVALID || status == STATUS_UNSUPPORTED)
		assert(scan.damage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[INPUT_MAX];
	if (size > INPUT_MAX)
		return 0;
	one_record(bytes_of(data, size));
	one_file(bytes_of(data, size));
	memcpy(file, data, size);
	if (size >= LEDGER_BLOCK)
		set_check(file, LEDGER_BLOCK);
	for (size_t at = LEDGER_BLOCK; at + HEAD_SIZE <= size; at += LEDGER_BLOCK)
		set_check(file + at, HEAD_SIZE);
	one_file(bytes_of(file, size));
	return 0;
}
