/* tools/cmd_cert.c: domctl cert: arguments for tools/cert.h, and its answers as items. Needs no cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tools/cert.h"
#include "tools/errors.h"
#include "tools/output.h"

enum { TEXT_SIZE = 65536, LISTED_MAX = 256, DAYS_SOON = 21 };

typedef enum status create_fn(const struct cert_args *args, struct text *out);

static struct cert_args arguments_of(const struct invocation *invocation)
{
	const char *ca_dir = flag_text(invocation, "ca-dir"), *out = flag_text(invocation, "out");

	return (struct cert_args){
		.ca_dir = ca_dir != NULL ? ca_dir : invocation->certs,
		.out = out != NULL ? out : invocation->certs,
		.cluster = flag_text(invocation, "cluster"),
		.place = flag_text(invocation, "place"),
		.name = flag_text(invocation, "name"),
		.file = invocation->argument_count > 0 ? invocation->arguments[0] : NULL,
		.key = flag_text(invocation, "key-file"),
		.cas = flag_text(invocation, "cas"),
		.serial = flag_text(invocation, "serial"),
		.days = (uint32_t)flag_number(invocation, "days", 0),
		.admin = flag_given(invocation, "admin"),
	};
}

static const char *code_of(enum status status)
{
	switch (status) {
	case STATUS_CONFLICT:
		return "DOM-P005";
	case STATUS_INVALID:
		return "DOM-K004";
	case STATUS_DENIED:
		return "DOM-S003";
	default:
		return "DOM-D003";
	}
}

static int create(const struct invocation *invocation, create_fn *make, bool needs_place, const char *what)
{
	static char text_data[TEXT_SIZE];
	struct cert_args args = arguments_of(invocation);
	struct text text;
	enum status status;

	if (args.ca_dir == NULL || args.cluster == NULL || (needs_place && args.place == NULL))
		return fail(invocation, "DOM-U003", what,
			needs_place ? "give --ca-dir DIR --cluster NAME --place PLACE"
				    : "give --ca-dir DIR --cluster NAME",
			"a directory%s and the cluster's name are needed", needs_place ? ", the place" : "");
	text_init(&text, text_data, sizeof(text_data));
	status = make(&args, &text);
	if (status != STATUS_OK)
		return fail(invocation, code_of(status), what, NULL, "%s", text_data);
	printf("%s%s", text_data, text.size > 0 && text_data[text.size - 1] == '\n' ? "" : "\n");
	return EXIT_OK;
}

int run_cert_create_ca(const struct invocation *invocation)
{
	return create(invocation, cert_create_ca, !flag_given(invocation, "admin"), "the authority is not made");
}

int run_cert_create_node(const struct invocation *invocation)
{
	return create(invocation, cert_create_node, true, "the node's certificate is not made");
}

int run_cert_create_client(const struct invocation *invocation)
{
	return create(invocation, cert_create_client, true, "the client's certificate is not made");
}

int run_cert_create_admin(const struct invocation *invocation)
{
	return create(invocation, cert_create_admin, false, "the administrator's certificate is not made");
}

int run_cert_revoke(const struct invocation *invocation)
{
	static char text_data[TEXT_SIZE];
	struct cert_args args = arguments_of(invocation);
	struct text text;
	enum status status;

	if (args.ca_dir == NULL || (args.file == NULL && args.place == NULL && !args.admin))
		return fail(invocation, "DOM-U003", "nothing is revoked", "give FILE --ca-dir DIR",
			"the authorities' directory is needed, and the certificate, or whose authority it is");
	text_init(&text, text_data, sizeof(text_data));
	status = cert_revoke(&args, &text);
	if (status != STATUS_OK)
		return fail(invocation, code_of(status), "nothing is revoked", NULL, "%s", text_data);
	printf("%s\n", text_data);
	return EXIT_OK;
}

static json_t *certificate_item(const struct pki_info *info, int64_t now_s)
{
	json_t *item = json_object();
	char digest[72];

	for (unsigned i = 0; i < 32; i++)
		snprintf(digest + 2 * i, 3, "%02x", info->spki_sha256[i]);
	set(item, "file", json_string(info->file));
	set(item, "role", json_string(cert_kind_name(info)));
	set(item, "place", json_string(info->name.place));
	set(item, "name", json_string(info->name.name));
	set(item, "cluster", json_string(info->name.cluster));
	set(item, "issuer", json_string(info->issuer));
	set(item, "not_before", json_time_us((uint64_t)info->not_before_s * 1000000));
	set(item, "not_after", json_time_us((uint64_t)info->not_after_s * 1000000));
	set(item, "days_left", json_integer(cert_days_left(info, now_s)));
	set(item, "spki_sha256", json_string(digest));
	for (size_t i = 0; i < info->serial_size; i++)
		snprintf(digest + 2 * i, 3, "%02x", info->serial[i]);
	set(item, "serial", json_string(info->serial_size == 0 ? "" : digest));
	return item;
}

static const struct column certificate_columns[] = { { .title = "FILE", .field = "file" },
	{ .title = "ROLE", .field = "role" }, { .title = "PLACE", .field = "place" },
	{ .title = "NAME", .field = "name" }, { .title = "CLUSTER", .field = "cluster" },
	{ .title = "DAYS LEFT", .field = "days_left", .right = true },
	{ .title = "NOT AFTER", .field = "not_after", .wide = true },
	{ .title = "KEY SHA-256", .field = "spki_sha256", .wide = true }, { 0 } };

int run_cert_list(const struct invocation *invocation)
{
	struct cert_args args = arguments_of(invocation);
	struct pki_info *infos = calloc(LISTED_MAX, sizeof(*infos));
	int64_t now_s = (int64_t)(clock_wall_us() / 1000000);
	char reason[512];
	struct text why;
	size_t count = 0, soon = 0;
	json_t *items;
	enum status status;

	if (infos == NULL)
		abort();
	if (args.ca_dir == NULL) {
		free(infos);
		return fail(invocation, "DOM-U006", "which directory?", "give --certs DIR", NULL);
	}
	text_init(&why, reason, sizeof(reason));
	status = pki_list(args.ca_dir, infos, LISTED_MAX, &count, &why);
	items = json_array();
	for (size_t i = 0; i < count && status == STATUS_OK; i++) {
		json_array_append_new(items, certificate_item(&infos[i], now_s));
		soon += cert_days_left(&infos[i], now_s) < DAYS_SOON;
	}
	free(infos);
	if (status != STATUS_OK) {
		json_decref(items);
		return fail(invocation, code_of(status), "the certificates cannot be listed", NULL, "%s", reason);
	}
	output_items(invocation, "CertificateList", NULL, items, certificate_columns, "file");
	if (soon > 0)
		return fail(invocation, "DOM-S003", "a certificate has expired or soon will", "make a new one",
			"%zu with less than %d days", soon, DAYS_SOON);
	return EXIT_OK;
}

int run_cert_show(const struct invocation *invocation)
{
	int64_t now_s = (int64_t)(clock_wall_us() / 1000000);
	struct cert_args args = arguments_of(invocation);
	static char text_data[TEXT_SIZE];
	struct text text;
	struct pki_info info;
	json_t *items;
	enum status status;

	text_init(&text, text_data, sizeof(text_data));
	status = pki_read(args.file, &info, &text);
	if (status != STATUS_OK)
		return fail(invocation, code_of(status), "the certificate cannot be read", NULL, "%s", text_data);
	items = json_array();
	json_array_append_new(items, certificate_item(&info, now_s));
	if (output_machine(invocation, "CertificateList", NULL, items, "file")) {
		json_decref(items);
		return EXIT_OK;
	}
	json_decref(items);
	text_init(&text, text_data, sizeof(text_data));
	status = cert_show(&args, now_s, &text);
	printf("%s%s", text_data, text.size > 0 && text_data[text.size - 1] == '\n' ? "" : "\n");
	return status == STATUS_OK ? EXIT_OK : EXIT_INVALID;
}

int run_cert_verify(const struct invocation *invocation)
{
	struct cert_args args = arguments_of(invocation);
	static char text_data[TEXT_SIZE];
	struct text text;
	enum status status;

	text_init(&text, text_data, sizeof(text_data));
	status = cert_verify(&args, &text);
	if (status != STATUS_OK)
		return fail(invocation, status == STATUS_NOT_FOUND ? "DOM-D003" : "DOM-S003",
			status == STATUS_NOT_FOUND ? "the certificate cannot be judged"
						   : "the certificate would be refused",
			NULL, "%s", text_data);
	printf("%s%s", text_data, text.size > 0 && text_data[text.size - 1] == '\n' ? "" : "\n");
	return EXIT_OK;
}
