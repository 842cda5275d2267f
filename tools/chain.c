/* tools/chain.c: see tools/chain.h. */
#include "tools/chain.h"

#include <assert.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/errors.h"
#include "tools/output.h"
#include "wire/certificate.h"

enum { WHY_SIZE = 192 };

/* --- authorities ------------------------------------------------------------------------------------- */

int trusted_load(const struct invocation *invocation, const char *path, struct trusted *trusted)
{
	FILE *file = fopen(path, "re");
	X509 *ca;

	memset(trusted, 0, sizeof(*trusted));
	while (file != NULL && trusted->count < TRUSTED_MAX && (ca = PEM_read_X509(file, NULL, NULL, NULL)) != NULL)
		trusted->at[trusted->count++] = ca;
	if (file != NULL)
		fclose(file);
	if (trusted->count > 0)
		return EXIT_OK;
	return fail(invocation, "DOM-D003", "the authorities cannot be read", "give --cas FILE: certificates in PEM",
		"%s", path);
}

void trusted_of_map(const struct cluster_map *map, struct trusted *trusted)
{
	memset(trusted, 0, sizeof(*trusted));
	for (uint32_t i = 0; i < map->region_count; i++) {
		const unsigned char *at = map->regions[i].ca_der;
		X509 *ca = d2i_X509(NULL, &at, (long)map->regions[i].ca_size);

		if (ca != NULL)
			trusted->at[trusted->count++] = ca;
	}
}

void trusted_free(struct trusted *trusted)
{
	for (unsigned i = 0; i < trusted->count; i++)
		X509_free(trusted->at[i]);
	trusted->count = 0;
}

bool trusted_certificate(const struct trusted *trusted, X509 *certificate, const struct place *place,
	const char *cluster, const char **why)
{
	struct certificate_name name;
	struct place region;

	*why = "the ledger's place is no node's";
	if (place_depth(place) < 3)
		return false;
	region = place_prefix(place, place_depth(place) - 2);
	if (certificate_name_of(certificate, &name, why) != STATUS_OK)
		return false;
	if (name.role != CERTIFICATE_NODE || strcmp(name.place, place->text) != 0 ||
		(cluster != NULL && strcmp(name.cluster, cluster) != 0)) {
		*why = "it is not a certificate of this node";
		return false;
	}
	*why = "no trusted authority that is bound to its region has signed it";
	for (unsigned i = 0; i < trusted->count; i++) {
		EVP_PKEY *key = X509_get0_pubkey(trusted->at[i]);
		const char *unbound;

		if (key != NULL && X509_verify(certificate, key) == 1 &&
			certificate_check_region_ca(trusted->at[i], region.text, name.cluster, &unbound) == STATUS_OK)
			return true;
	}
	return false;
}

/* --- files ------------------------------------------------------------------------------------------- */

void chain_init(struct chain *chain)
{
	memset(chain, 0, sizeof(*chain));
	chain->findings = json_array();
	if (chain->findings == NULL)
		abort();
}

void chain_free(struct chain *chain)
{
	for (uint32_t i = 0; i < chain->file_count; i++)
		free(chain->files[i].bytes);
	for (uint32_t i = 0; i < chain->certificate_count; i++)
		X509_free(chain->certificates[i]);
	free(chain->files);
	free(chain->positions);
	free(chain->audit);
	json_decref(chain->findings);
	memset(chain, 0, sizeof(*chain));
}

bool chain_add(struct chain *chain, uint8_t *bytes, size_t size, const char *name)
{
	struct ledger_segment segment;
	uint64_t first = 0;

	if (chain->file_count == chain->file_capacity) {
		uint32_t capacity = chain->file_capacity + 64;
		struct chain_file *grown = realloc(chain->files, capacity * sizeof(*grown));

		if (grown == NULL) {
			free(bytes);
			return false;
		}
		chain->files = grown;
		chain->file_capacity = capacity;
	}
	if (ledger_segment_decode(bytes_of(bytes, size), &segment) == STATUS_OK) {
		first = segment.before.sequence + 1;
		if (chain->incarnation == 0) {
			chain->incarnation = segment.incarnation;
			chain->place = segment.place;
		}
	}
	chain->files[chain->file_count++] = (struct chain_file){ bytes, size, first, name };
	return true;
}

int chain_load(const struct invocation *invocation, const char *path, struct chain *chain)
{
	FILE *file = fopen(path, "re");
	uint8_t *bytes = malloc(LEDGER_FILE_MAX + 1);
	size_t size = file == NULL || bytes == NULL ? 0 : fread(bytes, 1, LEDGER_FILE_MAX + 1, file);
	bool read = file != NULL && bytes != NULL && !ferror(file);

	if (file != NULL)
		fclose(file);
	if (!read || size > LEDGER_FILE_MAX) {
		free(bytes);
		return fail(invocation, "DOM-D003", "a file of the ledger cannot be read",
			"give the files of one or more nodes: DATA/ledger/*.led", "%s%s", path,
			read ? ": too large for one" : "");
	}
	if (!chain_add(chain, bytes, size, path))
		abort();
	return EXIT_OK;
}

static bool fetch_part(struct session *session, uint64_t node, uint64_t sequence, uint64_t offset, uint8_t *out,
	uint64_t *size, uint64_t *next, size_t *got, char why[WHY_SIZE])
{
	uint8_t body[16];
	struct packer packer;
	struct unpacker unpacker;
	dom_call *call;
	bool good = false;

	pack_init(&packer, body, sizeof(body));
	pack_u64(&packer, sequence);
	pack_u64(&packer, offset);
	call = client_admin(
		session->client, node, "ledger.read", pack_result(&packer), session->invocation->timeout_ms);
	if (call == NULL)
		abort();
	if (dom_call_wait(call) != DOM_OK) {
		snprintf(why, WHY_SIZE, "%s", dom_call_message(call));
	} else {
		dom_bytes answer = dom_call_value(call, 0);
		struct bytes part;

		unpack_init(&unpacker, bytes_of(answer.data, answer.size));
		(void)unpack_u64(&unpacker);
		*next = unpack_u64(&unpacker);
		*size = unpack_u64(&unpacker);
		part = unpack_bytes(&unpacker, LEDGER_FILE_MAX);
		good = unpack_end(&unpacker) && *size <= LEDGER_FILE_MAX && *size >= offset &&
		       part.size <= *size - offset;
		if (good && part.size > 0)
			memcpy(out + offset, part.data, part.size);
		*got = part.size;
		if (!good)
			snprintf(why, WHY_SIZE, "its answer does not decode");
	}
	dom_call_free(call);
	return good;
}

bool chain_fetch(struct session *session, uint64_t node, const char *name, struct chain *chain, char why[WHY_SIZE])
{
	uint64_t sequence = 1, next = 0;

	chain->read_us = clock_wall_us();
	for (; sequence != 0; sequence = next) {
		uint8_t *bytes = malloc(LEDGER_FILE_MAX);
		uint64_t offset = 0, size = 1;
		size_t got = 1;

		if (bytes == NULL)
			abort();
		for (; offset < size && got > 0; offset += got) {
			if (!fetch_part(session, node, sequence, offset, bytes, &size, &next, &got, why)) {
				free(bytes);
				return false;
			}
		}
		if (!chain_add(chain, bytes, (size_t)offset, name))
			abort();
		if (next != 0 && next <= sequence) {
			snprintf(why, WHY_SIZE, "its answer goes in a circle");
			return false;
		}
	}
	return true;
}

/* --- judging ----------------------------------------------------------------------------------------- */

void chain_find(struct chain *chain, uint64_t sequence, const char *kind, const char *what)
{
	json_t *finding = json_object();

	set(finding, "sequence", sequence == 0 ? json_null() : json_integer((json_int_t)sequence));
	set(finding, "finding", json_string(kind));
	set(finding, "what", json_string(what));
	json_array_append_new(chain->findings, finding);
}

static void on_audit(void *arg, const struct audit_finding *finding)
{
	chain_find(arg, finding->record->sequence, audit_kind_name(finding->kind), finding->what);
}

static void take_certificate(struct chain *chain, const struct ledger_record *record, const struct trusted *trusted)
{
	const unsigned char *at = record->body.data;
	X509 *certificate = d2i_X509(NULL, &at, (long)record->body.size);
	const char *why = "it does not decode";

	if (certificate == NULL || at != (const unsigned char *)record->body.data + record->body.size ||
		!trusted_certificate(trusted, certificate, &chain->place, NULL, &why)) {
		char what[256];

		snprintf(what, sizeof(what), "the recorded certificate is not to be trusted: %s", why);
		chain_find(chain, record->sequence, "certificate", what);
		X509_free(certificate);
		return;
	}
	if (chain->certificate_count == CERTIFICATES_MAX) {
		X509_free(chain->certificates[0]);
		memmove(chain->certificates, chain->certificates + 1, (CERTIFICATES_MAX - 1) * sizeof(X509 *));
		chain->certificate_count--;
	}
	chain->certificates[chain->certificate_count++] = certificate;
}

void chain_begin(struct chain *chain, uint64_t incarnation, const struct place *place)
{
	void *memory = malloc(audit_size());

	if (memory == NULL)
		abort();
	chain->incarnation = incarnation;
	chain->place = *place;
	chain->audit = audit_init(memory, &chain->place, on_audit, chain);
	chain->at = ledger_origin(incarnation, &chain->place);
}

void chain_take(struct chain *chain, const struct trusted *trusted, const struct ledger_record *record,
	const struct ledger_position *behind)
{
	assert(behind->sequence == chain->at.sequence + 1);
	if (behind->sequence > chain->position_capacity) {
		size_t capacity = chain->position_capacity == 0 ? 1024 : 2 * chain->position_capacity;
		struct ledger_position *grown = realloc(chain->positions, capacity * sizeof(*grown));

		if (grown == NULL)
			abort();
		chain->positions = grown;
		chain->position_capacity = capacity;
	}
	chain->positions[behind->sequence - 1] = *behind;
	chain->at = *behind;
	if (record == NULL)
		return;
	if (record->kind == LEDGER_CERTIFICATE)
		take_certificate(chain, record, trusted);
	audit_record(chain->audit, record);
}

void chain_end(struct chain *chain)
{
	audit_end(chain->audit, chain->read_us);
}

struct judging {
	struct chain *chain;
	const struct trusted *trusted;
};

static bool judge_record(
	void *arg, const struct ledger_record *record, struct bytes encoded, const struct ledger_position *behind)
{
	const struct judging *judging = arg;

	(void)encoded;
	chain_take(judging->chain, judging->trusted, record, behind);
	return true;
}

static int by_first(const void *a, const void *b)
{
	uint64_t left = ((const struct chain_file *)a)->first, right = ((const struct chain_file *)b)->first;

	return left < right ? -1 : left > right;
}

/* False: what follows cannot be chained to what is before. */
static bool judge_file(struct chain *chain, uint32_t at, struct judging *judging)
{
	const struct chain_file *file = &chain->files[at];
	struct bytes bytes = bytes_of(file->bytes, file->size);
	struct ledger_segment segment;
	struct ledger_scan scan;
	char what[512];
	enum status status = ledger_segment_decode(bytes, &segment);

	if (status == STATUS_OK &&
		(segment.before.sequence != chain->at.sequence ||
			memcmp(segment.before.hash, chain->at.hash, SHA256_SIZE) != 0 ||
			segment.incarnation != chain->incarnation || !place_equal(&segment.place, &chain->place))) {
		snprintf(what, sizeof(what), "%s does not continue what is before it: a file is missing or another's",
			file->name);
		chain_find(chain, chain->at.sequence + 1, "chain", what);
		return false;
	}
	if (ledger_segment_scan(bytes, at + 1 == chain->file_count, judge_record, judging, &scan) != STATUS_OK) {
		snprintf(what, sizeof(what), "%s, at byte %zu: %s", file->name, scan.damage_at, scan.damage);
		chain_find(chain, chain->at.sequence + 1, "damaged", what);
		return false;
	}
	if (scan.torn) {
		snprintf(what, sizeof(what),
			"%s, from byte %zu: no record, but not empty either: torn by a crash, or changed", file->name,
			scan.end);
		chain_find(chain, chain->at.sequence + 1, "torn", what);
	}
	return true;
}

void chain_judge(struct chain *chain, const struct trusted *trusted)
{
	struct judging judging = { chain, trusted };

	chain_begin(chain, chain->incarnation, &chain->place);
	if (chain->file_count > 1)
		qsort(chain->files, chain->file_count, sizeof(*chain->files), by_first);
	for (uint32_t i = 0; i < chain->file_count; i++) {
		if (!judge_file(chain, i, &judging))
			return;
	}
	chain_end(chain);
}

void chain_judge_head(struct chain *chain, const struct kept_head *kept)
{
	const struct ledger_head *head = &kept->head;
	uint8_t cluster[16], bytes[LEDGER_HEAD_TEXT_MAX];
	uint64_t node = audit_node(chain->audit, cluster);
	struct bytes text = ledger_head_text(cluster, kept->node, chain->incarnation, head, bytes);

	if (head->at.sequence == 0)
		return;
	if (node != kept->node)
		chain_find(chain, 0, "head", "the head that meta keeps is another node's");
	if (head->at.sequence > chain->at.sequence)
		chain_find(chain, chain->at.sequence + 1, "dropped",
			"the ledger ends before the head that meta keeps: its last records are gone");
	else if (memcmp(chain->positions[head->at.sequence - 1].hash, head->at.hash, SHA256_SIZE) != 0)
		chain_find(chain, head->at.sequence, "head",
			"the head that meta keeps is of another past than this ledger's: it was written anew");
	for (uint32_t i = chain->certificate_count; i > 0; i--) {
		if (certificate_signed(chain->certificates[i - 1], text,
			    bytes_of(head->signature, head->signature_size)) == STATUS_OK)
			return;
	}
	chain_find(chain, head->at.sequence, "signature",
		"no certificate in this ledger has signed the head that meta keeps");
}

struct records {
	const struct chain *chain;
	chain_record_fn *fn;
	void *arg;
};

static bool pass_record(
	void *arg, const struct ledger_record *record, struct bytes encoded, const struct ledger_position *behind)
{
	const struct records *records = arg;

	records->fn(records->arg, records->chain, record, encoded, behind);
	return true;
}

void chain_records(const struct chain *chain, chain_record_fn *fn, void *arg)
{
	struct records records = { chain, fn, arg };

	for (uint32_t i = 0; i < chain->file_count; i++) {
		const struct chain_file *file = &chain->files[i];
		struct ledger_scan scan;

		if (ledger_segment_scan(bytes_of(file->bytes, file->size), i + 1 == chain->file_count, pass_record,
			    &records, &scan) != STATUS_OK)
			return;
	}
}
