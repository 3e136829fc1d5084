/* queue_site.h - a queue on a journal in a directory, opened as tests want it; and its verification.
 *
 * Model:    small segments, a clock that the test sets, and a configuration with few knobs. Operations that intake and
 *           the scheduler make in the product are one call here.
 * Threads:  the caller's; calls wait.
 */
#ifndef T_QUEUE_SITE_H
#define T_QUEUE_SITE_H

#include "queue/internal.h"

#define QUEUE_SITE_MS INT64_C(1700000000000) /* wall clock at the beginning */

struct queue_site_setup {
    const char *dir;
    const char *boot_id;    /* NULL: the kernel's */
    uint64_t segment_bytes; /* 0: 65,536 */
    uint64_t map_bytes;     /* 0: 256 MiB */
    uint32_t young_max;     /* 0: 10,000 */
    uint32_t young_s;       /* 0: 5 */
    uint32_t entries_max;
    uint32_t rcpts_max;     /* entry_recipients_max; 0: 1,000 */
    const char *channels;   /* JSON of the section, or NULL */
    const char *pools;      /* the same */
    bool with_notices;      /* section "notices" with its defaults */
    bool discard_index, without_pool, with_background;
};
struct queue_site {
    struct queue_site_setup setup;
    struct queue *queue;
    struct pool *pool;
    struct clock clock;
    struct journal *j;
    struct journal_report report;
};

/* Keeps the clock of an earlier life when it has one. */
int queue_site_open(struct queue_site *s, const struct queue_site_setup *setup, struct err *err);
void queue_site_close(struct queue_site *s); /* members may be NULL */
void queue_site_configure(struct queue_site *s); /* anew from s->setup */

/* One operation: the octets as a body (empty: view of e counts), then the entry. id may be NULL. */
int queue_site_put(struct queue_site *s, const struct queue_entry *e, slice octets, uint64_t *id, struct err *err);
/* Passed by, see queue_emit_passed. */
int queue_site_passed(struct queue_site *s, slice channel, enum queue_rcpt_state end, uint64_t n, struct err *err);
/* Takes the request over. */
enum queue_result queue_site_do(struct queue_site *s, TAKES struct queue_request **r, struct err *err);
/* The logical dump after settling. */
int queue_site_dump(struct queue_site *s, struct buf *out, struct err *err);
/* queue_check and that the ledger's total closes; lines to say. Returns the number of faults, or -1. */
int queue_site_check(struct queue_site *s, journal_say_fn *say, void *arg, struct err *err);
/* Empty all sealed segments there are, in random order; at most `max` of them. Returns how many, or -1. */
int queue_site_empty(struct queue_site *s, uint64_t seed, unsigned max, struct err *err);

#endif
