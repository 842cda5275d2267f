/* bench/hlog.c: see bench/hlog.h. All integers of the encoding are big-endian. */
#include "bench/hlog.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "base/text.h"

enum {
	COOKIE_PLAIN = 0x1c849313,	/* V2, with the flag of a varint payload */
	COOKIE_COMPRESSED = 0x1c849314, /* what is around it */
	PLAIN_HEADER = 40,
	COMPRESSED_HEADER = 8,
	VARINT_MAX = 9,
};

static void put_be32(uint8_t *at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put_be64(uint8_t *at, uint64_t value)
{
	put_be32(at, (uint32_t)(value >> 32));
	put_be32(at + 4, (uint32_t)value);
}

/* Seven bits a byte, the lowest first; the ninth byte, if it comes to that, holds eight. */
static size_t put_varint(uint8_t *at, int64_t value)
{
	uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
	size_t size = 0;

	while (zigzag >= 0x80 && size < VARINT_MAX - 1) {
		at[size++] = (uint8_t)(zigzag | 0x80);
		zigzag >>= 7;
	}
	at[size++] = (uint8_t)zigzag;
	return size;
}

static size_t put_counts(uint8_t *at, const struct histogram *histogram)
{
	size_t size = 0;
	unsigned used = HISTOGRAM_BUCKETS;

	while (used > 0 && histogram->buckets[used - 1] == 0)
		used--;
	for (unsigned i = 0; i < used;) {
		unsigned zeros = 0;

		while (histogram->buckets[i + zeros] == 0)
			zeros++;
		if (zeros > 0)
			size += put_varint(at + size, -(int64_t)zeros);
		i += zeros;
		size += put_varint(at + size, (int64_t)histogram->buckets[i]);
		i++;
	}
	return size;
}

static size_t encode_plain(uint8_t *at, const struct histogram *histogram)
{
	double ratio = 1;
	uint64_t bits;
	size_t payload = put_counts(at + PLAIN_HEADER, histogram);

	memcpy(&bits, &ratio, sizeof(bits));
	put_be32(at, COOKIE_PLAIN);
	put_be32(at + 4, (uint32_t)payload);
	put_be32(at + 8, 0); /* normalizing index offset */
	put_be32(at + 12, HISTOGRAM_DIGITS);
	put_be64(at + 16, 1); /* lowest discernible value */
	put_be64(at + 24, HISTOGRAM_US_MAX);
	put_be64(at + 32, bits);
	return PLAIN_HEADER + payload;
}

char *hlog_encode(const struct histogram *histogram)
{
	size_t plain_max = PLAIN_HEADER + (size_t)HISTOGRAM_BUCKETS * VARINT_MAX, plain_size, text_size;
	uLongf packed_size = compressBound(plain_max);
	uint8_t *plain = malloc(plain_max), *packed = malloc(COMPRESSED_HEADER + packed_size);
	char *text = NULL;

	if (plain == NULL || packed == NULL)
		goto done;
	plain_size = encode_plain(plain, histogram);
	assert(plain_size <= plain_max);
	if (compress(packed + COMPRESSED_HEADER, &packed_size, plain, plain_size) != Z_OK)
		goto done;
	put_be32(packed, COOKIE_COMPRESSED);
	put_be32(packed + 4, (uint32_t)packed_size);
	packed_size += COMPRESSED_HEADER;
	text_size = (packed_size + 2) / 3 * 4 + 1;
	text = malloc(text_size);
	if (text != NULL && base64_encode(text, text_size, bytes_of(packed, packed_size)) == 0)
		assert(false);
done:
	free(plain);
	free(packed);
	return text;
}

void hlog_begin(FILE *out, uint64_t start_us)
{
	time_t seconds = (time_t)(start_us / 1000000);
	struct tm parts;
	char date[64] = "";

	if (gmtime_r(&seconds, &parts) != NULL)
		strftime(date, sizeof(date), "%a %b %d %H:%M:%S UTC %Y", &parts);
	fprintf(out,
		"#[Histogram log format version 1.3]\n#[StartTime: %" PRIu64 ".%03" PRIu64
		" (seconds since epoch), %s]\n"
		"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
		start_us / 1000000, start_us / 1000 % 1000, date);
}

bool hlog_write(FILE *out, const char *tag, double start_s, double length_s, const struct histogram *histogram)
{
	char *text = hlog_encode(histogram);

	if (text == NULL)
		return false;
	assert(strpbrk(tag, ", \t\n") == NULL);
	fprintf(out, "Tag=%s,%.3f,%.3f,%.3f,%s\n", tag, start_s, length_s, (double)histogram->max_us / 1000, text);
	free(text);
	return ferror(out) == 0;
}
