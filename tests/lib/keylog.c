/* tests/lib/keylog.c: an LD_PRELOAD shim that writes the keys of every TLS connection to the file KEYLOG_FILE, in NSS's
 * format, so that a test may open what it captured. The product has no such thing: a test starts it under this shim. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static void on_line(const SSL *ssl, const char *line)
{
	(void)ssl;
	const char *path = getenv("KEYLOG_FILE");
	int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	struct iovec parts[] = { { (void *)line, strlen(line) }, { "\n", 1 } };
	if (file < 0 || writev(file, parts, 2) != (ssize_t)(parts[0].iov_len + 1))
		abort(); /* or the test would call closed what it could not open */
	close(file);
}

SSL_CTX *SSL_CTX_new(const SSL_METHOD *method)
{
	SSL_CTX *(*next)(const SSL_METHOD *);
	*(void **)&next = dlsym(RTLD_NEXT, "SSL_CTX_new");
	SSL_CTX *context = next ? next(method) : NULL;
	if (context)
		SSL_CTX_set_keylog_callback(context, on_line);
	return context;
}
