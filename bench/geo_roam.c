/* bench/geo_roam.c: see bench/geo_worker.h. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/geo_worker.h"

enum { TOKEN_SIZE_MAX = 1 << 16 };

static void token_path(const struct geo_worker *worker, uint32_t region, uint32_t user, char out[GEO_PATH_MAX + 128])
{
	snprintf(out, GEO_PATH_MAX + 128, "%s/%s/token-%" PRIu32, worker->settings->out,
		worker->settings->topology.regions[region].name, user);
}

bool geo_roam_init(struct geo_worker *worker)
{
	const struct geo_settings *settings = worker->settings;
	uint32_t regions = settings->topology.region_count, users = (uint32_t)settings->users;
	uint32_t before = (worker->region + regions - 1) % regions;

	for (uint32_t i = 0; i < users; i++) {
		char path[GEO_PATH_MAX + 128];

		worker->users[i].id = worker->region * users + i + 1;
		worker->users[i].here = true;
		worker->users[i].session = dom_session_new((dom_bytes){ NULL, 0 });
		if (worker->users[i].session == NULL)
			return false;
		token_path(worker, worker->region, worker->users[i].id, path);
		unlink(path); /* of an earlier run */
		worker->users[users + i].id = before * users + i + 1;
		worker->users[users + i].guest = true;
	}
	return true;
}

void geo_roam_deinit(struct geo_worker *worker)
{
	for (uint64_t i = 0; i < 2 * worker->settings->users; i++) {
		if (worker->users[i].session != NULL)
			dom_session_free(worker->users[i].session);
	}
}

/* The file appears whole, by its name. */
static void leave(struct geo_worker *worker, struct geo_user *user)
{
	char path[GEO_PATH_MAX + 128], draft[GEO_PATH_MAX + 136];
	dom_bytes token = dom_session_token(user->session);
	FILE *file;

	token_path(worker, worker->region, user->id, path);
	snprintf(draft, sizeof(draft), "%s.new", path);
	file = fopen(draft, "w");
	if (file == NULL || fwrite(token.data, 1, token.size, file) != token.size || fclose(file) != 0 ||
		rename(draft, path) != 0) {
		fprintf(stderr, "dombench: %s cannot be written\n", path);
		exit(DOM_INVALID);
	}
	user->here = false;
}

static void arrive(struct geo_worker *worker, struct geo_user *user)
{
	static uint8_t token[TOKEN_SIZE_MAX];
	uint32_t regions = worker->settings->topology.region_count;
	char path[GEO_PATH_MAX + 128];
	FILE *file;
	size_t size;

	token_path(worker, (worker->region + regions - 1) % regions, user->id, path);
	file = fopen(path, "r");
	if (file == NULL)
		return; /* still on the way */
	size = fread(token, 1, sizeof(token), file);
	fclose(file);
	user->session = dom_session_new((dom_bytes){ token, size });
	if (user->session == NULL) {
		fprintf(stderr, "dombench: %s is no session's token\n", path);
		exit(DOM_INVALID);
	}
	user->here = true;
}

struct geo_user *geo_roam_choose(struct geo_worker *worker, uint64_t planned_ns)
{
	uint64_t users = worker->settings->users, half_ns = worker->settings->load.seconds * 500000000;
	bool moving = planned_ns >= worker->measure_ns + half_ns && worker->settings->topology.region_count > 1;
	uint64_t first = prng_below(&worker->prng, 2 * users);

	for (uint64_t i = 0; moving && i < users; i++) {
		struct geo_user *own = &worker->users[i], *guest = &worker->users[users + i];

		if (own->here && !own->busy)
			leave(worker, own);
		if (guest->session == NULL)
			arrive(worker, guest);
	}
	for (uint64_t i = 0; i < 2 * users; i++) {
		struct geo_user *user = &worker->users[(first + i) % (2 * users)];

		if (user->here && !user->busy)
			return user;
	}
	return NULL;
}
