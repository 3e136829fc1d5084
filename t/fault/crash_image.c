/* crash_image.c - for scripts: make the directories that a crash may leave, from a log of preload_record.
 *
 * usage: crash_image LOG DIR BASE [SKIP], with lines "EVENT MODEL SEED OUT" on the standard input, events rising.
 * DIR is the directory that was recorded, BASE a copy of it from before, SKIP a kind of sync to leave out
 * (crash_sync_name), which shows that the caller would notice. For each line the image as of after that
 * event is made in OUT, and "OUT UNSYNCED" is answered: how many operations were open. A killed process leaves an
 * index that may be trusted; after a power loss it has no trusted one, for it is another boot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "crash_sim.h"

static enum crash_model model_of(const char *name)
{
    if (strcmp(name, "kill") == 0)
        return CRASH_KILL;
    if (strcmp(name, "posix") == 0)
        return CRASH_POSIX;
    if (strcmp(name, "ordered") == 0)
        return CRASH_ORDERED;
    panic("no model %s", name);
}

static void skip(struct crash_sim *sim, const char *name)
{
    for (int kind = 0; kind < CRASH_SYNC_COUNT; kind++) {
        if (strcmp(name, crash_sync_name((enum crash_sync)kind)) == 0) {
            crash_sim_skip(sim, (enum crash_sync)kind, 0);
            return;
        }
    }
    panic("no kind of sync %s", name);
}

int main(int argc, char **argv)
{
    struct crash_log log = { 0 };
    struct crash_sim *sim;
    char line[5000], model[16], out[4096];
    unsigned long long event, seed;
    size_t at = 0;

    if (argc < 4 || argc > 5 || crash_log_open(&log, argv[1]) < 0) {
        fprintf(stderr, "usage: crash_image LOG DIR BASE [SKIP]\n");
        return 2;
    }
    sim = crash_sim_new(argv[2]);
    crash_sim_base(sim, argv[3]);
    if (argc == 5)
        skip(sim, argv[4]);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        struct crash_choice choice;

        if (sscanf(line, "%llu %15s %llu %4095s", &event, model, &seed, out) != 4 || event >= log.count ||
            at > event + 1)
            panic("not a request: %s", line);
        while (at <= event)
            crash_sim_step(sim, &log, at++);
        choice = (struct crash_choice){ model_of(model), seed };
        if (crash_sim_image(sim, &choice, out) < 0)
            panic("cannot write the image to %s", out);
        if (choice.model == CRASH_KILL)
            crash_index_adopt(out, crash_sim_inode(sim, "index/index.lmdb"));
        printf("%s %llu\n", out, (unsigned long long)crash_sim_unsynced(sim));
        fflush(stdout);
    }
    crash_sim_destroy(&sim);
    crash_log_free(&log);
    return 0;
}
