/* tools/cert.c: see tools/cert.h. */
#include "tools/cert.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/units.h"

enum { LIST_MAX = 1024 };

static bool given(const char *value, const char *what, struct text *out)
{
	if (value && value[0])
		return true;
	text_add(out, what);
	text_add(out, " is missing");
	return false;
}

enum status cert_create_ca(const struct cert_args *args, struct text *out)
{
	enum status status;
	if (!given(args->ca_dir, "the directory for the authority", out) ||
		!given(args->cluster, "the cluster's name", out))
		return STATUS_INVALID;
	if (args->admin) {
		status = pki_create_admin_ca(args->ca_dir, args->cluster, args->days, out);
	} else {
		if (!given(args->place, "the region's place", out))
			return STATUS_INVALID;
		status = pki_create_region_ca(args->ca_dir, args->cluster, args->place, args->days, out);
	}
	if (status != STATUS_OK)
		return status;
	const char *slash = args->admin ? NULL : strrchr(args->place, '/');
	text_add(out, "made ");
	text_add(out, args->ca_dir);
	text_add(out, "/ca-");
	text_add(out, args->admin ? "admin" : slash ? slash + 1 : args->place);
	text_add(out, ".crt and its key");
	text_add(out, args->admin ? "; whoever has the key administers the cluster"
				  : "; the key stays in the region: whoever has it can admit nodes there");
	return STATUS_OK;
}

static bool copy_name(char *to, size_t capacity, const char *from, struct text *out)
{
	if (strlen(from) < capacity) {
		memcpy(to, from, strlen(from) + 1);
		return true;
	}
	text_add(out, "a name or place is too long: ");
	text_add(out, from);
	return false;
}

static enum status issue(
	const struct cert_args *args, enum certificate_role role, const char *fallback, struct text *out)
{
	struct certificate_name name = { .role = role };
	const char *to = args->out ? args->out : args->ca_dir;
	if (!given(args->ca_dir, "the authorities' directory", out) || !given(args->cluster, "the cluster's name", out))
		return STATUS_INVALID;
	if (role != CERTIFICATE_ADMIN && !given(args->place, "the place", out))
		return STATUS_INVALID;
	if (!copy_name(name.cluster, sizeof(name.cluster), args->cluster, out) ||
		!copy_name(name.name, sizeof(name.name), args->name ? args->name : fallback, out) ||
		!copy_name(name.place, sizeof(name.place), role == CERTIFICATE_ADMIN ? "" : args->place, out))
		return STATUS_INVALID;
	enum status status = pki_issue(args->ca_dir, to, &name, args->days, out);
	if (status != STATUS_OK)
		return status;
	text_add(out, "made the ");
	text_add(out, role == CERTIFICATE_NODE ? "node" : role == CERTIFICATE_CLIENT ? "client" : "admin");
	text_add(out, " certificate, its key and cas.pem in ");
	text_add(out, to);
	return STATUS_OK;
}

enum status cert_create_node(const struct cert_args *args, struct text *out)
{
	return issue(args, CERTIFICATE_NODE, "node", out);
}

enum status cert_create_client(const struct cert_args *args, struct text *out)
{
	return issue(args, CERTIFICATE_CLIENT, "app", out);
}

enum status cert_create_admin(const struct cert_args *args, struct text *out)
{
	return issue(args, CERTIFICATE_ADMIN, "admin", out);
}

enum status cert_revoke(const struct cert_args *args, struct text *out)
{
	struct pki_revocation revocation = {
		.file = args->file, .serial = args->serial, .place = args->admin ? "" : args->place, .days = args->days
	};
	if (!given(args->ca_dir, "the authorities' directory", out))
		return STATUS_INVALID;
	if (args->file ? args->serial || args->place || args->admin : !args->place == !args->admin) {
		text_add(out, "give the certificate's file, or else either --place or --admin");
		return STATUS_INVALID;
	}
	return pki_revoke(args->ca_dir, args->out ? args->out : args->ca_dir, &revocation, out);
}

const char *cert_kind_name(const struct pki_info *info)
{
	switch (info->kind) {
	case PKI_REGION_CA:
		return "region CA";
	case PKI_ADMIN_CA:
		return "admin CA";
	case PKI_LEAF:
		break;
	}
	assert(info->kind == PKI_LEAF);
	return info->name.role == CERTIFICATE_NODE     ? "node"
	       : info->name.role == CERTIFICATE_CLIENT ? "client"
						       : "admin";
}

int64_t cert_days_left(const struct pki_info *info, int64_t now_s)
{
	return days_until(info->not_after_s, now_s);
}

/* "app1 of eu/ie/eu-west-1 in acme" */
static void add_who(const struct pki_info *info, struct text *out)
{
	bool named = info->kind == PKI_LEAF && info->name.role != CERTIFICATE_NODE;
	if (named)
		text_add(out, info->name.name);
	if (info->name.place[0]) {
		text_add(out, named ? " of " : "");
		text_add(out, info->name.place);
	}
	text_add(out, named || info->name.place[0] ? " in " : "");
	text_add(out, info->name.cluster);
}

static void add_left(const struct pki_info *info, int64_t now_s, struct text *out)
{
	text_add_i64(out, cert_days_left(info, now_s));
	text_add(out, info->not_after_s < now_s ? " days: over" : " days left");
}

enum status cert_list(const struct cert_args *args, int64_t now_s, struct text *out)
{
	size_t count;
	if (!given(args->ca_dir, "the directory", out))
		return STATUS_INVALID;
	struct pki_info *infos = calloc(LIST_MAX, sizeof(*infos));
	if (!infos)
		return STATUS_NO_MEMORY;
	enum status status = pki_list(args->ca_dir, infos, LIST_MAX, &count, out);
	for (size_t i = 0; status == STATUS_OK && i < count; i++) {
		text_add(out, infos[i].file);
		text_add(out, "  ");
		text_add(out, cert_kind_name(&infos[i]));
		text_add(out, "  ");
		add_who(&infos[i], out);
		text_add(out, "  ");
		add_left(&infos[i], now_s, out);
		text_add(out, "\n");
	}
	free(infos);
	return status;
}

static void add_time(const char *label, int64_t seconds, struct text *out)
{
	char written[40];
	struct tm parts;
	time_t time = (time_t)seconds;
	gmtime_r(&time, &parts);
	strftime(written, sizeof(written), "%Y-%m-%dT%H:%M:%SZ", &parts);
	text_add(out, label);
	text_add(out, written);
	text_add(out, "\n");
}

enum status cert_show(const struct cert_args *args, int64_t now_s, struct text *out)
{
	struct pki_info info;
	char hex[80];
	if (!given(args->file, "the file", out))
		return STATUS_INVALID;
	enum status status = pki_read(args->file, &info, out);
	if (status != STATUS_OK)
		return status;
	text_add(out, "kind        ");
	text_add(out, cert_kind_name(&info));
	text_add(out, "\nwho         ");
	add_who(&info, out);
	text_add(out, "\nsigned by   ");
	text_add(out, info.issuer);
	text_add(out, "\nserial      ");
	hex_encode(hex, sizeof(hex), bytes_of(info.serial, info.serial_size));
	text_add(out, hex);
	text_add(out, "\nkey sha256  ");
	hex_encode(hex, sizeof(hex), bytes_of(info.spki_sha256, sizeof(info.spki_sha256)));
	text_add(out, hex);
	add_time("\nfrom        ", info.not_before_s, out);
	add_time("to          ", info.not_after_s, out);
	text_add(out, "left        ");
	add_left(&info, now_s, out);
	text_add(out, "\n");
	return STATUS_OK;
}

enum status cert_verify(const struct cert_args *args, struct text *out)
{
	char beside[PKI_PATH_MAX];
	const char *cas = args->cas;
	if (!given(args->file, "the file", out))
		return STATUS_INVALID;
	if (!cas) {
		const char *slash = strrchr(args->file, '/');
		int directory = slash ? (int)(slash - args->file) : 1;
		snprintf(beside, sizeof(beside), "%.*s/cas.pem", directory, slash ? args->file : ".");
		cas = beside;
	}
	enum status status = pki_verify(args->file, args->key, cas, out);
	if (status == STATUS_OK) {
		text_add(out, args->file);
		text_add(out, " would be accepted");
	}
	return status;
}
