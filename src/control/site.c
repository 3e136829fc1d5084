#include "control/site.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"

#define HELPERS 2
#define HELPER_QUEUE 1024
#define ROOMS_MAX 8

int site_exists(const char *dir, struct err *err)
{
    struct buf path = BUF_INIT;
    struct stat st;
    int rc = 0;

    buf_printf(&path, "%s/journal", dir);
    if (stat(buf_str(&path), &st) < 0)
        rc = errno == ENOENT || errno == ENOTDIR ? err_set(err, ERR_NOTFOUND, "%s holds no journal", dir)
                                                 : err_sys(err, errno, "%s", buf_str(&path));
    else if (!S_ISDIR(st.st_mode))
        rc = err_set(err, ERR_NOTFOUND, "%s is no directory", buf_str(&path));
    buf_free(&path);
    return rc;
}

/* The rooms with durable state, in the order of their floors. */
static unsigned site_rooms(struct site *s, const struct journal_room **rooms)
{
    (void)s;
    (void)rooms;
    return 0;
}

int site_open(struct site *s, const struct site_setup *setup, struct err *err)
{
    const struct journal_room *rooms[ROOMS_MAX] = { NULL };
    struct journal_conf conf;
    struct journal_setup js = {
        .dir = setup->dir,
        .conf = setup->journal_conf,
        .clock = &s->clock,
        .rooms = rooms,
        .create = setup->create,
        .discard_index = setup->discard_index,
        .progress = setup->progress,
        .progress_arg = setup->progress_arg,
    };

    *s = (struct site){ .journal = NULL };
    if (!setup->create && site_exists(setup->dir, err) < 0)
        return -1;
    clock_init_real(&s->clock);
    if (js.conf == NULL) {
        keys_default(&journal_keys, &conf, NULL); /* it has no text keys: no arena is needed */
        js.conf = &conf;
    }
    s->pool = pool_new("helper", HELPERS, HELPER_QUEUE, err);
    if (s->pool == NULL)
        return -1;
    js.pool = s->pool;
    js.room_count = site_rooms(s, rooms);
    if (journal_open(&s->journal, &js, &s->report, err) < 0) {
        site_close(s);
        return -1;
    }
    return 0;
}

void site_close(struct site *s)
{
    journal_close(&s->journal);
    pool_destroy(&s->pool);
}
