#include "control/site.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "intake/intake.h"

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

/* The rooms with durable state. */
static unsigned site_rooms(struct site *s, const struct journal_room **rooms)
{
    unsigned n = 0;

    rooms[n++] = store_room(s->store);
    rooms[n++] = dir_room(s->dir);
    rooms[n++] = &intake_journal_room;
    rooms[n++] = queue_room(s->queue);
    return n;
}

int site_open(struct site *s, const struct site_setup *setup, struct err *err)
{
    const struct journal_room *rooms[ROOMS_MAX] = { NULL };
    struct journal_setup js = {
        .dir = setup->dir,
        .conf = conf_section(setup->conf, CONF_JOURNAL),
        .clock = &s->clock,
        .rooms = rooms,
        .create = setup->create,
        .discard_index = setup->discard_index,
        .background = setup->background,
        .progress = setup->progress,
        .progress_arg = setup->progress_arg,
    };

    *s = (struct site){ .journal = NULL };
    if (!setup->create && site_exists(setup->dir, err) < 0)
        return -1;
    clock_init_real(&s->clock);
    s->pool = pool_new("helper", setup->helpers != 0 ? setup->helpers : HELPERS, HELPER_QUEUE, err);
    if (s->pool == NULL || dir_new(&s->dir, &s->clock, err) < 0 || store_new(&s->store, &s->clock, err) < 0 ||
        queue_new(&s->queue, &s->clock, err) < 0)
        goto fail;
    store_configure(s->store, conf_section(setup->conf, CONF_STORE));
    queue_configure(s->queue, setup->conf);
    js.pool = s->pool;
    js.room_count = site_rooms(s, rooms);
    if (journal_open(&s->journal, &js, &s->report, err) < 0)
        goto fail;
    dir_attach(s->dir, s->journal);
    if (store_attach(s->store, s->journal, setup->dir, err) < 0 || queue_attach(s->queue, s->journal, err) < 0)
        goto fail;
    return 0;
fail:
    site_close(s);
    return -1;
}

void site_stop_journal(struct site *s)
{
    if (s->pool != NULL && s->journal != NULL)
        pool_drain(s->pool); /* jobs of the sessions may read the journal */
    journal_close(&s->journal);
    if (s->store != NULL)
        store_detach(s->store);
}

void site_stop(struct site *s)
{
    site_stop_journal(s);
    pool_destroy(&s->pool);
}

void site_close(struct site *s)
{
    site_stop(s);
    queue_destroy(&s->queue);
    store_destroy(&s->store);
    dir_destroy(&s->dir);
}
