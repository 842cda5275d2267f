#!/usr/bin/env python3
"""Decodes an HdrHistogram interval log by the format's description, sharing nothing with bench/hlog.c.
Prints, for each line, its tag, start, length, maximum and every non-empty bucket as LOW:COUNT."""
import base64, struct, sys, zlib


def varints(data):
    at = 0
    while at < len(data):
        value = shift = 0
        for i in range(9):
            byte = data[at]
            at += 1
            if i == 8:
                value |= byte << shift
                break
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield (value >> 1) ^ -(value & 1)


def buckets(text):
    raw = base64.b64decode(text, validate=True)
    cookie, size = struct.unpack(">II", raw[:8])
    assert cookie & ~0xF0 == 0x1C849304, hex(cookie)
    assert size == len(raw) - 8, "length of the compressed part"
    plain = zlib.decompress(raw[8:])
    cookie, size, offset, digits, lowest, highest, ratio = struct.unpack(">IIIIQQd", plain[:40])
    assert cookie == 0x1C849313, hex(cookie)
    assert size == len(plain) - 40, "length of the counts"
    assert (offset, lowest, ratio) == (0, 1, 1.0)
    # Sub-buckets: the power of two at or above 2 * 10^digits.
    half = 1
    while half < 10**digits:
        half *= 2
    index = 0
    for number in varints(plain[40:]):
        if number < 0:
            index -= number
            continue
        power = max(index // half - 1, 0)
        low = (index - power * half) << power
        assert low <= highest
        yield low, number
        index += 1


lines = open(sys.argv[1]).read().splitlines()
assert lines[0] == "#[Histogram log format version 1.3]", lines[0]
assert lines[1].startswith("#[StartTime: "), lines[1]
assert lines[2] == '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"', lines[2]
for line in lines[3:]:
    tag, start, length, top, text = line.split(",")
    assert tag.startswith("Tag="), tag
    print(tag[4:], start, length, top, *("%d:%d" % pair for pair in buckets(text)))
