/* kv_site.h - a journal with the key-value room in it, opened as the fault programs want it; and its verification.
 *
 * Model:    small segments and a small index, so that a few hundred operations reach every corner. kv_verify opens a
 *           directory as a restarted server would, holds it against a model, has it check itself and compares with a
 *           rebuilt index. kv_verify_child does so in a process of its own with a time limit: a crash image may well
 *           kill or hang what reads it.
 */
#ifndef T_KV_SITE_H
#define T_KV_SITE_H

#include "kv_room.h"

struct kv_site {
    const char *dir;
    const char *partition;   /* a second root, or NULL */
    const char *boot_id;     /* NULL: the kernel's */
    uint64_t segment_bytes;  /* 0: 65,536 */
    uint32_t inline_bytes;   /* 0: 8,192 */
    uint32_t reserve_segments; /* 0: 2 */
    bool discard_index;
    bool background;         /* a rebuild goes on after opening, */
    unsigned rebuild_slice;  /* so many records at a time; 0: as many as time allows */
    bool without_pool;       /* helpers' work is done by the committer */
    const struct clock *clock; /* NULL: the real one */
};

struct kv_journal {
    struct kv_room *room;
    struct pool *pool;
    struct clock clock;
    struct journal *j;
    struct journal_report report;
};
int kv_journal_open(struct kv_journal *k, const struct kv_site *site, struct err *err);
void kv_journal_close(struct kv_journal *k); /* NULL members allowed */

/* While the index is rebuilt: is everything of the client in it? If not, it is asked for. */
bool kv_client_ready(struct kv_journal *k, uint32_t client);

/* The logical dump after settling; into `out`. */
int kv_journal_dump(struct kv_journal *k, struct buf *out, struct err *err);

enum kv_verify_flags {
    KV_QUICK = 1,    /* leave the octets of bodies unread */
    KV_CHECK = 2,    /* journal_check, too */
    KV_REBUILD = 4,  /* close, discard the index, open again: the same dump */
    KV_TRUSTED = 8,  /* it is a fault when the index was not trusted */
    KV_GO_ON = 16,   /* afterwards every client can do another operation */
};
#define KV_TEXT_BYTES 8192

struct kv_result { /* plain; lies in shared memory */
    struct kv_model model; /* in: what is expected; out: in line with what was found */
    struct journal_report report;
    int faults;
    size_t text_len;
    char text[KV_TEXT_BYTES]; /* one line a fault, then what the journal said */
};
OWNED struct kv_result *kv_result_new(void); /* shared with children */
void kv_result_destroy(struct kv_result **r);

void kv_verify(const struct kv_site *site, unsigned flags, struct kv_result *r);
/* The same in a child; a child that dies or takes too long is a fault. Returns the number of faults. */
int kv_verify_child(const struct kv_site *site, unsigned flags, unsigned timeout_s, struct kv_result *r);

/* For programs that verify in their own way: fn runs in a child whose standard error (what the journal says) is a
 * file that it may read; it reports with kv_fault. */
typedef void kv_child_fn(void *arg, struct kv_result *r);
int kv_in_child(kv_child_fn *fn, void *arg, unsigned timeout_s, struct kv_result *r);
void kv_fault(struct kv_result *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
void kv_say(void *r, const char *line); /* a journal_say_fn: one line to r->text */

/* Wait for a child; kills it after the limit. Returns its wait status, or -1 if it took too long. */
int kv_wait(int pid, unsigned timeout_s);

#endif
