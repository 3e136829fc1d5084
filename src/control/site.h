/* site.h - the data of one directory, opened: the journal with all rooms that keep something in it.
 *
 * Model:    the daemon and the verbs that work while it is down open a directory the same way. site_rooms in site.c is
 *           the one list of rooms; whoever adds a room with durable state adds it there.
 * Threads:  opening and closing: one thread; what lies inside has rules of its own.
 * Errors:   site_open: those of journal_open; ERR_NOTFOUND when the directory holds no journal and `create` is false
 *           (nothing is made then).
 */
#ifndef CONTROL_SITE_H
#define CONTROL_SITE_H

#include "base/clock.h"
#include "base/confset.h"
#include "dir/dir.h"
#include "journal/journal.h"
#include "queue/queue.h"
#include "reactor/pool.h"
#include "store/store.h"

#define SITE_REBUILD_MARK "rebuild" /* file in DIR: the next start rebuilds the index */

struct site {
    struct clock clock;
    struct pool *pool; /* helpers */
    struct dir *dir;
    struct store *store;
    struct queue *queue;
    struct journal *journal;
    struct journal_report report;
};

struct site_setup {
    const char *dir;
    struct conf_set *conf; /* borrowed for the call */
    unsigned helpers;      /* 0: 2 */
    bool create;           /* make the journal if there is none */
    bool discard_index;    /* rebuild it */
    bool background;       /* a rebuild goes on after site_open, see journal.h */
    void (*progress)(void *arg, uint64_t done_bytes, uint64_t all_bytes); /* of a rebuild; may be NULL */
    void *progress_arg;
};

int site_open(struct site *s, const struct site_setup *setup, struct err *err);
/* Close the journal: nothing changes any more, but what was asked still finds its rooms. */
void site_stop_journal(struct site *s);
void site_stop(struct site *s); /* the same, and the helpers end */
void site_close(struct site *s); /* also after site_stop; of one that is not open: a no-op */

/* Does dir hold a journal? ERR_NOTFOUND when not. */
int site_exists(const char *dir, struct err *err);

#endif
