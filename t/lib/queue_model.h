/* queue_model.h - what a queue must hold after a number of steps, worked out without it; and the steps themselves.
 *
 * Model:    several clients, each with channels, hosts and entries of its own. A client's next step follows from the
 *           seed and from which of its steps succeeded, so another process can work it out again from the lines
 *           "S client n" (sent) and "A client n 0|1" (answered; 1: it happened) alone. An entry is known by its session
 *           text "client.n.part".
 *           qm_compare holds a queue against it: entries with every recipient, bodies, totals, what is stopped.
 *           A step that was sent and not answered may have happened or not; the model follows what is found.
 * Clock:    step n happens at QUEUE_SITE_MS + 1000 n; qm_clock sets it. It is the same for all clients of a
 *           round.
 */
#ifndef T_QUEUE_MODEL_H
#define T_QUEUE_MODEL_H

#include "queue_site.h"

#define QM_CLIENTS 8u
#define QM_ENTRIES 24u
#define QM_RCPTS 5u
#define QM_CHANNELS 3u
#define QM_HOSTS 4u
#define QM_BODY_MAX 12000u

struct qm_entry {
    uint32_t n, part; /* the step that made it; 0: put, 1: addition */
    uint64_t id;      /* 0: not known in this process */
    uint8_t channel, host, state, priority;
    bool is_notice;
    uint32_t attempts, notices, rcpt_count, body_bytes;
    int64_t created_ms, due_ms, notice_ms;
    uint8_t rcpts[QM_RCPTS];
    uint32_t diags[QM_RCPTS]; /* number of the step that set the diagnostic, 0: none */
};

struct qm_client {
    uint32_t client;
    uint32_t sent, answered;
    uint32_t count;
    struct qm_entry entries[QM_ENTRIES];
    uint64_t totals[QM_CHANNELS][QUEUE_TOTALS];
    bool stopped[QM_CHANNELS];
};

struct qm {
    uint64_t seed;
    uint32_t client_count;
    struct qm_client clients[QM_CLIENTS];
};

enum qm_what { QM_PUT, QM_RESULT, QM_WARN, QM_HOLD, QM_RELEASE, QM_RETRY, QM_DELETE, QM_REROUTE, QM_STOP, QM_PASSED,
               QM_REFUSED };
struct qm_step {
    uint32_t client, n;
    enum qm_what what;
    uint32_t target; /* index of an entry */
    uint8_t channel, host, priority, end;
    uint32_t rcpt_count, body_bytes;
    uint8_t outcomes[QM_RCPTS];
    bool held, has_addition, is_attempt;
};

void qm_init(struct qm *m, uint64_t seed, uint32_t clients);
void qm_next(const struct qm *m, uint32_t client, struct qm_step *step);
void qm_apply(struct qm *m, const struct qm_step *step);
/* A line of a log; false with why: it contradicts the model. */
bool qm_line(struct qm *m, const char *line, char why[160]);
bool qm_lines(struct qm *m, const char *path, char why[160]);

/* A step under way. done on the committer; happened: step succeeded. */
struct qm_op {
    struct qm_step step;
    struct queue_site *site;
    const struct qm *model;
    struct journal_op op;
    struct queue_entry entry;
    struct queue_request *request;
    struct buf octets;
    struct body_writer *writer;
    struct arena mem;
    uint64_t id; /* of the entry made by a put */
    bool happened;
    struct err err;
    void (*done)(struct qm_op *op);
    void *arg;
};
/* step, done and arg are filled; the rest is zero. */
void qm_op_submit(struct qm_op *op, struct queue_site *site, const struct qm *m);
void qm_op_free(struct qm_op *op);
/* Run one step of each client at once and wait; the model follows. mark: called for each line of the log, or NULL,
 * under a lock. Returns how many were refused. */
typedef void qm_mark_fn(void *arg, const char *line);
unsigned qm_round(struct qm *m, struct queue_site *site, qm_mark_fn *mark, void *arg);
void qm_clock(const struct qm *m, struct queue_site *site);
/* Returns the number of differences. bodies: read them, too. Sets the ids of the entries. */
int qm_compare(struct qm *m, struct queue_site *site, bool bodies, journal_say_fn *say, void *arg);

#endif
