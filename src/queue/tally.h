/* tally.h - what passed through each channel since the start: the legacy's channel counters.
 *
 * Model:    per channel a row of numbers, made when something is added for the first time; for trend and health, lost
 *           at shutdown. Stored messages are not here: queue_sum knows them.
 * Threads:  any.
 */
#ifndef QUEUE_TALLY_H
#define QUEUE_TALLY_H

#include <stdint.h>

#include "base/slice.h"
#include "queue/conf.h"

enum tally_kind { /* what is counted in messages, recipients and octets, and by which records */
                  TALLY_RECEIVED,  /* E into the channel: whoever enqueues */
                  TALLY_DELIVERED, /* D */
                  TALLY_SUBMITTED, /* E from the channel to others */
                  TALLY_ATTEMPTED, /* Q, Z */
                  TALLY_REJECTED,  /* J */
                  TALLY_FAILED,    /* R, K */
                  TALLY_KINDS
};
extern const char *const tally_kind_names[TALLY_KINDS]; /* "received" … */

struct tally_count {
    int64_t messages, recipients, bytes;
};
enum tally_number {
    TALLY_FIRST,            /* messages delivered at their first attempt */
    TALLY_QUEUE_S,          /* seconds that delivered messages waited, */
    TALLY_QUEUE_COUNT,      /* and their number */
    TALLY_QUEUE_FIRST_S,    /* the same of those delivered at the first attempt */
    TALLY_QUEUE_FIRST_COUNT,
    TALLY_IN_ASSOCS,        /* connections to us */
    TALLY_OUT_ASSOCS,       /* connections of ours: jobs */
    TALLY_AUTH_OK,
    TALLY_AUTH_FAILED,
    TALLY_NUMBERS
};
extern const char *const tally_number_names[TALLY_NUMBERS];

struct tally;
OWNED struct tally *tally_new(void);
void tally_destroy(struct tally **t);
/* Names beyond CHANNEL_NAME_MAX are cut; after CHANNELS_MAX channels new ones are not counted. t may be NULL. */
void tally_add(struct tally *t, slice channel, enum tally_kind kind, int64_t messages, int64_t recipients,
               int64_t bytes);
void tally_add_number(struct tally *t, slice channel, enum tally_number n, int64_t add);

struct tally_row {
    slice channel;
    struct tally_count counts[TALLY_KINDS];
    int64_t numbers[TALLY_NUMBERS];
};
typedef void tally_row_fn(void *arg, const struct tally_row *row);
void tally_each(struct tally *t, tally_row_fn *fn, void *arg); /* in order of first use */
void tally_clear(struct tally *t);

#endif
