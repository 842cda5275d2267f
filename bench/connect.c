/* bench/connect.c: one client for the load, as bench/load.h says. */
#include <stdio.h>

#include "bench/load.h"

int load_connect(const struct load_settings *settings, struct event_base *base, dom_client **client)
{
	char ca[1024], cert[1024], key[1024];
	dom_connect_options options = DOM_CONNECT_OPTIONS;
	enum dom_status status;

	snprintf(ca, sizeof(ca), "%s/cas.pem", settings->certs);
	snprintf(cert, sizeof(cert), "%s/client-%s.crt", settings->certs, settings->region);
	snprintf(key, sizeof(key), "%s/client-%s.key", settings->certs, settings->region);
	options.endpoints = settings->endpoints;
	options.ca_file = ca;
	options.cert_file = cert;
	options.key_file = key;
	options.base = base;
	options.in_flight_max = (uint32_t)settings->depth + 1;
	status = dom_connect(&options, client);
	if (status != DOM_OK)
		fprintf(stderr, "dombench: %s: %s\n", dom_status_name(status), dom_connect_message());
	return (int)status;
}
