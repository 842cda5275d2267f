#include <domicile.h>
#include <stdio.h>
int main(int count, char **words) /* hello ENDPOINT cas.pem client.crt client.key */
{
	dom_connect_options options = DOM_CONNECT_OPTIONS;
	dom_client *client;
	dom_bytes key = { "hello/world", 11 }, value = { "it works", 8 };
	options.endpoints = count == 5 ? words[1] : "";
	options.ca_file = words[2], options.cert_file = words[3], options.key_file = words[4];
	if (count != 5 || dom_connect(&options, &client) != DOM_OK)
		return puts(count == 5 ? dom_connect_message() : "hello ENDPOINT CAS CERT KEY"),
		       (int)DOM_CANNOT_CONNECT;
	dom_call *call = dom_put(client, key, value, NULL);
	if (dom_call_wait(call) == DOM_OK)
		dom_call_free(call), call = dom_get(client, key, NULL);
	enum dom_status status = dom_call_wait(call);
	printf("%s%.*s\n", dom_call_message(call), (int)dom_call_value(call, 0).size,
		(const char *)dom_call_value(call, 0).data);
	dom_call_free(call);
	dom_close(client);
	return (int)status;
}
