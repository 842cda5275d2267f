/* tests/lib/measure_replicas.c: what N shard engines cost: memory, descriptors, time to create and to open again, and
 * the rate of small applies spread over all of them. The table in docs/storage.md comes from it.
 *
 * usage: measure_replicas DIR COUNT [WRITES]        prints one row of the table */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "storage/engine.h"

static void must(enum status status, const char *what)
{
	if (status == STATUS_OK)
		return;
	fprintf(stderr, "measure_replicas: %s: %s\n", what, status_text(status));
	exit(1);
}

static double memory_mib(void)
{
	unsigned long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
		must(STATUS_IO, "/proc/self/statm");
	fclose(file);
	return (double)resident * 4096 / (1 << 20);
}

static unsigned descriptors(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static double since_ms(uint64_t begin_ns)
{
	return (double)(clock_boot_ns() - begin_ns) / 1e6;
}

static void write_all(struct engine **engines, unsigned long count, unsigned long writes)
{
	static uint8_t value[128];
	struct engine_batch *batch = engine_batch_new();
	if (!batch)
		must(STATUS_NO_MEMORY, "batch");
	for (unsigned long i = 0; i < writes; i++) {
		char key[24];
		snprintf(key, sizeof(key), "%016lx", i * 2654435761u);
		engine_batch_put(batch, ENGINE_SPACE_KEYS, bytes_text(key), bytes_of(value, sizeof(value)));
		must(engine_apply(engines[i % count], batch, 1 + i / count, 1), "apply");
	}
	engine_batch_free(batch);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	unsigned long count = strtoul(argv[2], NULL, 10), writes = argc > 3 ? strtoul(argv[3], NULL, 10) : 200000;
	struct engine_options options = { .dir = argv[1] };
	struct engine_shared *shared;
	struct engine **engines = calloc(count ? count : 1, sizeof(*engines));
	if (!engines || count == 0)
		return 2;
	must(engine_shared_open(&options, &shared), argv[1]);
	uint64_t begin = clock_boot_ns(), flushed;
	for (unsigned long i = 0; i < count; i++)
		must(engine_open(shared, i + 1, true, &engines[i]), "create");
	double create_ms = since_ms(begin);
	write_all(engines, count, count); /* a row each, so that there is a file to open */
	for (unsigned long i = 0; i < count; i++) {
		must(engine_flush(engines[i], &flushed), "flush");
		engine_close(engines[i]);
	}
	double before_mib = memory_mib();
	unsigned before = descriptors();
	begin = clock_boot_ns();
	for (unsigned long i = 0; i < count; i++)
		must(engine_open(shared, i + 1, false, &engines[i]), "open");
	double open_ms = since_ms(begin), idle_mib = memory_mib();
	unsigned used = descriptors() - before;
	begin = clock_boot_ns();
	write_all(engines, count, writes);
	double write_ms = since_ms(begin), busy_mib = memory_mib();
	begin = clock_boot_ns();
	for (unsigned long i = 0; i < count; i++)
		must(engine_flush(engines[i], &flushed), "flush");
	double flush_ms = since_ms(begin);
	printf("| %lu | %.1f | %.1f | %.1f | %.1f | %.2f | %.2f | %.0f | %.1f |\n", count, before_mib, idle_mib,
		busy_mib, (double)used / (double)count, create_ms / (double)count, open_ms / (double)count,
		(double)writes / write_ms * 1000, flush_ms / (double)count);
	for (unsigned long i = 0; i < count; i++) {
		engine_close(engines[i]);
		must(engine_remove(shared, i + 1), "remove");
	}
	engine_shared_close(shared);
	free(engines);
	return 0;
}
