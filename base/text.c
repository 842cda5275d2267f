/* base/text.c: see base/text.h. */
#include "base/text.h"

#include <assert.h>

void text_init(struct text *text, char *data, size_t capacity)
{
	assert(data);
	assert(capacity > 0);
	*text = (struct text){ .data = data, .capacity = capacity };
	data[0] = 0;
}

void text_add_bytes(struct text *text, struct bytes bytes)
{
	assert(text->size < text->capacity);
	size_t room = text->capacity - 1 - text->size;
	size_t size = bytes.size < room ? bytes.size : room;
	if (size > 0)
		memcpy(text->data + text->size, bytes.data, size);
	text->size += size;
	text->data[text->size] = 0;
}

void text_add(struct text *text, const char *string)
{
	text_add_bytes(text, bytes_text(string));
}

void text_add_u64(struct text *text, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	text_add_bytes(text, bytes_of(digits + at, sizeof(digits) - at));
}

static uint64_t magnitude(int64_t value)
{
	return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

void text_add_i64(struct text *text, int64_t value)
{
	if (value < 0)
		text_add(text, "-");
	text_add_u64(text, magnitude(value));
}

static const char hex_digits[] = "0123456789abcdef";

void text_add_hex64(struct text *text, uint64_t value)
{
	char digits[16];
	for (unsigned i = 0; i < 16; i++)
		digits[i] = hex_digits[(value >> (60 - 4 * i)) & 15];
	text_add_bytes(text, bytes_of(digits, sizeof(digits)));
}

void text_add_ms(struct text *text, int64_t us)
{
	uint64_t whole = magnitude(us);
	uint64_t hundredths = whole / 10 + (whole % 10 >= 5);
	if (us < 0 && hundredths > 0)
		text_add(text, "-");
	text_add_u64(text, hundredths / 100);
	char fraction[3] = { '.', (char)('0' + hundredths / 10 % 10), (char)('0' + hundredths % 10) };
	text_add_bytes(text, bytes_of(fraction, sizeof(fraction)));
}

size_t text_escape(char *out, size_t capacity, struct bytes bytes)
{
	assert(capacity > 0);
	const uint8_t *data = bytes.data;
	size_t at = 0;
	for (size_t i = 0; i < bytes.size; i++) {
		uint8_t c = data[i];
		char escaped[4] = { (char)c };
		size_t width = 1;
		if (c == '\\') {
			escaped[1] = '\\';
			width = 2;
		} else if (c < 0x20 || c >= 0x7f) {
			escaped[0] = '\\';
			escaped[1] = 'x';
			escaped[2] = hex_digits[c >> 4];
			escaped[3] = hex_digits[c & 15];
			width = 4;
		}
		if (width > capacity - 1 - at)
			break;
		memcpy(out + at, escaped, width);
		at += width;
	}
	out[at] = 0;
	return at;
}

size_t hex_encode(char *out, size_t capacity, struct bytes bytes)
{
	assert(capacity > 0);
	const uint8_t *data = bytes.data;
	out[0] = 0;
	if (bytes.size > (capacity - 1) / 2)
		return 0;
	for (size_t i = 0; i < bytes.size; i++) {
		out[2 * i] = hex_digits[data[i] >> 4];
		out[2 * i + 1] = hex_digits[data[i] & 15];
	}
	out[2 * bytes.size] = 0;
	return 2 * bytes.size;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool hex_decode(void *out, size_t capacity, struct bytes text, size_t *size)
{
	const char *from = text.data;
	uint8_t *to = out;
	*size = 0;
	if (text.size % 2 != 0 || text.size / 2 > capacity)
		return false;
	for (size_t i = 0; i < text.size / 2; i++) {
		int high = hex_value(from[2 * i]), low = hex_value(from[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		to[i] = (uint8_t)(high << 4 | low);
	}
	*size = text.size / 2;
	return true;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(char *out, size_t capacity, struct bytes bytes)
{
	assert(capacity > 0);
	const uint8_t *data = bytes.data;
	size_t at = 0;
	out[0] = 0;
	if (bytes.size / 3 + (bytes.size % 3 != 0) > (capacity - 1) / 4)
		return 0;
	for (size_t i = 0; i < bytes.size; i += 3) {
		size_t left = bytes.size - i;
		uint32_t group = (uint32_t)data[i] << 16;
		if (left > 1)
			group |= (uint32_t)data[i + 1] << 8;
		if (left > 2)
			group |= data[i + 2];
		out[at++] = base64_digits[group >> 18];
		out[at++] = base64_digits[group >> 12 & 63];
		out[at++] = left > 1 ? base64_digits[group >> 6 & 63] : '=';
		out[at++] = left > 2 ? base64_digits[group & 63] : '=';
	}
	out[at] = 0;
	return at;
}

static int base64_value(char c)
{
	const char *at = c ? memchr(base64_digits, c, 64) : NULL;
	return at ? (int)(at - base64_digits) : -1;
}

bool base64_decode(void *out, size_t capacity, struct bytes text, size_t *size)
{
	const char *from = text.data;
	uint8_t *to = out;
	size_t at = 0;
	*size = 0;
	if (text.size % 4 != 0)
		return false;
	for (size_t i = 0; i < text.size; i += 4) {
		size_t digits = 4;
		if (i + 4 == text.size && from[i + 3] == '=')
			digits = from[i + 2] == '=' ? 2 : 3;
		uint32_t group = 0;
		for (size_t j = 0; j < 4; j++) {
			int value = j < digits ? base64_value(from[i + j]) : 0;
			if (value < 0)
				return false;
			group = group << 6 | (uint32_t)value;
		}
		/* bits that no byte holds are zero: one text for one value */
		if (group & (digits == 2 ? 0xffffU : digits == 3 ? 0xffU : 0))
			return false;
		if (digits - 1 > capacity - at)
			return false;
		for (size_t j = 0; j < digits - 1; j++)
			to[at++] = (uint8_t)(group >> (16 - 8 * j));
	}
	*size = at;
	return true;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t text_distance(const char *a, const char *b)
{
	size_t a_size = strnlen(a, TEXT_WORD_MAX + 1), b_size = strnlen(b, TEXT_WORD_MAX + 1);
	if (a_size > TEXT_WORD_MAX || b_size > TEXT_WORD_MAX)
		return SIZE_MAX;
	/* row i holds the distances from a's first i characters; three rows, for swaps look back two */
	size_t rows[3][TEXT_WORD_MAX + 1];
	for (size_t j = 0; j <= b_size; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_size; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i - 1) % 3];
		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			row[j] = least(above[j], row[j - 1]) + 1;
			row[j] = least(row[j], above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
		}
	}
	return rows[a_size % 3][b_size];
}

/* Near: at most a third of the word wrong, and at least one edit is forgiven where that leaves a letter right. */
const char *text_nearest(const char *word, const char *const candidates[], size_t count)
{
	size_t size = strnlen(word, TEXT_WORD_MAX + 1);
	size_t near_max = size < 2 ? 0 : size < 6 ? 1 : size / 3;
	const char *nearest = NULL;
	size_t nearest_distance = near_max + 1;
	for (size_t i = 0; i < count; i++) {
		size_t distance = candidates[i] ? text_distance(word, candidates[i]) : SIZE_MAX;
		if (distance < nearest_distance) {
			nearest = candidates[i];
			nearest_distance = distance;
		}
	}
	return nearest;
}
