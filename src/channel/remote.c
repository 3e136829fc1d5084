#include "channel/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "base/secret.h"
#include "smtp/client.h"

#define HINTS 1024u          /* destinations, hashed, whose last thread is remembered */
#define IDLE_MAX 1000u       /* connections at rest of one thread */
#define PASSWORD_MAX_OCTETS 1000u
#define PROGRESS_MS 200      /* how often the scheduler is told that octets move */
#define LOSSES_MAX 2u        /* connections lost in a row until the destination counts as unreachable */
#define ARENA_BYTES 4096

/* owner: its worker's reactor */
struct remote_worker {
    struct remote *remote;
    struct worker *worker;
    unsigned index;
    struct list jobs, idle;
    unsigned idle_count;
    bool is_stopping;
    struct post stop;
};

struct remote {
    struct remote_setup setup;
    struct remote_worker *workers;
    unsigned worker_count;
    _Atomic unsigned next;
    _Atomic uint8_t hints[HINTS]; /* index of a worker + 1; 0: none */
};

/* A client, and whom it serves. owner: the worker's reactor */
struct remote_conn {
    struct list link; /* in idle */
    struct remote_worker *at;
    struct smtp_client *client;
    struct remote_job *job; /* NULL: at rest */
    uint64_t dest;
    const struct conf_set *set; /* referenced by the client */
    bool is_lmtp;
};

struct remote_job {
    struct post post;
    struct list link;
    struct remote *remote;
    struct remote_worker *at;
    struct channel_job *job;
    bool is_lmtp;
    struct remote_conn *conn; /* NULL: none yet */
    unsigned next;            /* of job->entries */
    unsigned losses;
    int64_t progress_ms;
    /* the entry under way */
    struct arena mem;
    struct queue_entry entry;
    struct queue_outcome *outcomes;
    unsigned outcome_count, next_rcpt;
    struct body_pin header, body;
    bool has_header, has_body;
    unsigned *indexes; /* of the transaction's recipients in the entry */
    struct smtp_client_mail mail;
};

static void job_next(struct remote_job *j);
static void mail_begin(struct remote_job *j);
static void mail_done(struct smtp_client_mail *m);

/* --- the message -------------------------------------------------------------------------------------------------- */

struct part {
    const struct body_pin *pin;
    uint64_t at;
    size_t len;
};

/* [at, at + len) of the message: of its own header block, and of the body behind what the block replaces. */
static unsigned parts_of(const struct remote_job *j, uint64_t at, size_t len, struct part parts[2])
{
    const struct body_view *v = &j->entry.view;
    unsigned n = 0;

    if (at < v->header_bytes) {
        const uint64_t left = v->header_bytes - at;
        const size_t part = left < len ? (size_t)left : len;

        parts[n++] = (struct part){ &j->header, at, part };
        at += part;
        len -= part;
    }
    if (len > 0)
        parts[n++] = (struct part){ &j->body, v->body_at + (at - v->header_bytes), len };
    return n;
}

static bool source_now(void *arg, uint64_t at, void *out, size_t len)
{
    struct part parts[2];
    const unsigned n = parts_of(arg, at, len, parts);
    unsigned char *to = out;

    for (unsigned i = 0; i < n; to += parts[i++].len)
        if (!journal_body_read_now(parts[i].pin, parts[i].at, to, parts[i].len))
            return false;
    return true;
}

static int source_wait(void *arg, uint64_t at, void *out, size_t len, struct err *err)
{
    struct part parts[2];
    const unsigned n = parts_of(arg, at, len, parts);
    unsigned char *to = out;

    for (unsigned i = 0; i < n; to += parts[i++].len)
        if (journal_body_read(parts[i].pin, parts[i].at, to, parts[i].len, err) < 0)
            return -1;
    return 0;
}

static int pins_take(struct remote_job *j, struct err *err)
{
    const struct body_view *v = &j->entry.view;
    struct journal *journal = j->remote->setup.journal;
    struct journal_view view;
    int rc = -1;

    if (journal_read_begin(journal, &view, err) < 0)
        return -1;
    if (v->header_id != 0) {
        if (journal_body_pin(journal, &view, v->header_id, &j->header, err) < 0)
            goto out;
        j->has_header = true;
    }
    if (journal_body_pin(journal, &view, v->body_id, &j->body, err) < 0)
        goto out;
    j->has_body = true;
    rc = 0;
out:
    journal_read_end(&view);
    return rc;
}

static void entry_end(struct remote_job *j)
{
    if (j->has_header)
        journal_body_unpin(&j->header);
    if (j->has_body)
        journal_body_unpin(&j->body);
    j->has_header = j->has_body = false;
    arena_reset(&j->mem);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void conn_free(struct remote_conn *c)
{
    list_remove(&c->link);
    smtp_client_close(&c->client);
    mem_free(c);
}

static void conn_gone(void *arg)
{
    struct remote_conn *c = arg;

    if (c->job != NULL) /* between two messages: the client makes another one when it is needed */
        return;
    c->at->idle_count--;
    conn_free(c);
}

static void conn_progress(void *arg)
{
    const struct remote_conn *c = arg;
    const int64_t now_ms = reactor_now_ms(c->at->worker->reactor);

    if (c->job == NULL || now_ms - c->job->progress_ms < PROGRESS_MS)
        return;
    c->job->progress_ms = now_ms;
    job_progress(c->job->job);
}

/* The first line of the file. */
static int password_read(slice path, struct secret *out, struct err *err)
{
    unsigned char text[PASSWORD_MAX_OCTETS];
    struct buf name = BUF_INIT;
    slice line;
    ssize_t n;
    int fd;

    buf_put_slice(&name, path);
    fd = open(buf_str(&name), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    buf_free(&name);
    if (fd < 0)
        return err_sys(err, errno, "auth_password_file");
    n = read(fd, text, sizeof text);
    close(fd);
    if (n <= 0)
        return err_set(err, ERR_TEMP, "auth_password_file: nothing can be read from it");
    line = slice_of(text, (size_t)n);
    line = slice_cut(&line, '\n', NULL);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    secret_set(out, line);
    explicit_bzero(text, sizeof text);
    return 0;
}

static int local_parse(slice text, struct net_addr *out, struct err *err)
{
    struct buf with_port = BUF_INIT;
    int rc;

    if (text.len == 0)
        return 0;
    buf_printf(&with_port, slice_find_byte(text, ':') >= 0 && text.ptr[0] != '[' ? "[%.*s]:0" : "%.*s:0",
               SLICE_ARG(text));
    rc = net_addr_parse(buf_slice(&with_port), out, err);
    if (rc < 0)
        err_prefix(err, "interfaceaddress");
    buf_free(&with_port);
    return rc;
}

static struct remote_conn *conn_new(struct remote_job *j, struct err *err)
{
    const struct channel_conf *conf = j->job->conf;
    struct remote_conn *c = mem_alloc(sizeof *c);
    struct secret password = SECRET_INIT;
    struct smtp_client_setup setup = {
        .worker = j->at->worker,
        .dns = j->remote->setup.dns,
        .log = conf->logging ? j->remote->setup.log : NULL,
        .set = j->job->set,
        .is_lmtp = j->is_lmtp,
        .is_mx = conf->mx == 0,
        .channel = j->job->channel,
        .target = conf->daemon.len > 0 ? conf->daemon : j->job->host,
        .port = conf->port,
        .tls = (enum smtp_client_tls)conf->tls,
        .tls_verify = conf->tls_verify,
        .auth_user = conf->auth_user,
        .gone = conn_gone,
        .progress = conn_progress,
        .arg = c,
    };

    *c = (struct remote_conn){ .at = j->at, .job = j, .dest = j->job->dest, .set = j->job->set,
                               .is_lmtp = j->is_lmtp };
    list_init(&c->link);
    if ((conf->auth_user.len > 0 && password_read(conf->auth_password_file, &password, err) < 0) ||
        local_parse(conf->interfaceaddress, &setup.local, err) < 0)
        goto failed;
    setup.auth_password = secret_slice(&password);
    if (smtp_client_new(&c->client, &setup, err) < 0)
        goto failed;
    secret_free(&password);
    return c;
failed:
    secret_free(&password);
    mem_free(c);
    return NULL;
}

/* One that rests, of the same destination and the same configuration. */
static struct remote_conn *conn_take(struct remote_job *j)
{
    LIST_FOREACH(&j->at->idle, it) {
        struct remote_conn *c = LIST_ENTRY(it, struct remote_conn, link);

        if (c->dest == j->job->dest && c->set == j->job->set && c->is_lmtp == j->is_lmtp) {
            list_remove(&c->link);
            j->at->idle_count--;
            c->job = j;
            smtp_client_wake(c->client, c);
            return c;
        }
    }
    return NULL;
}

static void conn_give(struct remote_job *j, bool may_rest)
{
    struct remote_worker *at = j->at;
    struct remote_conn *c = j->conn;

    j->conn = NULL;
    if (c == NULL)
        return;
    c->job = NULL;
    if (!may_rest || j->job->conf->cache_s == 0 || at->is_stopping || smtp_client_sent(c->client) == 0 ||
        smtp_client_sent(c->client) >= j->job->conf->transactions_max) {
        conn_free(c);
        return;
    }
    if (at->idle_count >= IDLE_MAX) {
        at->idle_count--;
        conn_free(LIST_ENTRY(at->idle.next, struct remote_conn, link));
    }
    list_push_back(&at->idle, &c->link);
    at->idle_count++;
    j->remote->hints[c->dest % HINTS] = (uint8_t)(at->index + 1);
    smtp_client_rest(c->client, j->job->conf->cache_s * 1000);
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static void outcome_add(struct remote_job *j, unsigned rcpt, enum queue_rcpt_state state, slice status, slice diag)
{
    j->outcomes[j->outcome_count++] =
        (struct queue_outcome){ .rcpt = rcpt, .state = (uint8_t)state, .status = status, .diag = diag };
}

/* Every recipient that still waits: for the next attempt. */
static void outcome_rest(struct remote_job *j, slice status, slice diag)
{
    for (; j->next_rcpt < j->entry.rcpt_count; j->next_rcpt++)
        if (j->entry.rcpts[j->next_rcpt].state == RCPT_WAITING)
            outcome_add(j, j->next_rcpt, RCPT_WAITING, status, diag);
}

static void result_give(struct remote_job *j)
{
    const struct smtp_client_mail *m = &j->mail;

    job_result(j->job, &(struct job_result){
                           .entry = j->entry.id,
                           .outcomes = j->outcomes,
                           .outcome_count = j->outcome_count,
                           .where = m->where,
                           .peer_has_dsn = m->peer_has_dsn,
                           .transport = m->transport,
                           .application = m->application,
                           .modifiers = m->modifiers,
                       });
    entry_end(j);
}

/* The job is over, and *j with it. */
static void job_over(struct remote_job *j, enum job_verdict verdict, slice status, slice diag)
{
    conn_give(j, verdict == JOB_OK);
    job_end(j->job, verdict, status, diag);
    entry_end(j);
    list_remove(&j->link);
    arena_free(&j->mem);
    mem_free(j);
}

/* --- one transaction ---------------------------------------------------------------------------------------------- */

static void outcomes_of(struct remote_job *j)
{
    static const enum queue_rcpt_state states[] = { [SMTP_FATE_LATER] = RCPT_WAITING,
                                                    [SMTP_FATE_REFUSED] = RCPT_FAILED };

    for (unsigned i = 0; i < j->mail.rcpt_count; i++) {
        const struct smtp_client_rcpt *r = &j->mail.rcpts[i];

        if (r->fate == SMTP_FATE_TAKEN)
            outcome_add(j, j->indexes[i], j->is_lmtp ? RCPT_DELIVERED : RCPT_RELAYED, r->status, r->diag);
        else if (r->fate != SMTP_FATE_NONE)
            outcome_add(j, j->indexes[i], states[r->fate], r->status, r->diag);
    }
}

/* No connection, or we stop: what was found out about the entry before counts. */
static void mail_unsent(struct remote_job *j)
{
    const enum smtp_end end = j->mail.end;
    struct buf diag = BUF_INIT;
    char status[QUEUE_STATUS_MAX];

    buf_put_slice(&diag, j->mail.diag);
    snprintf(status, sizeof status, "%.*s", SLICE_ARG(j->mail.status));
    if (j->outcome_count > 0) {
        for (unsigned i = 0; i < j->mail.rcpt_count && end != SMTP_END_STOPPED; i++)
            if (j->mail.rcpts[i].fate == SMTP_FATE_NONE)
                outcome_add(j, j->indexes[i], RCPT_WAITING, j->mail.status, j->mail.diag);
        if (end != SMTP_END_STOPPED)
            outcome_rest(j, j->mail.status, j->mail.diag);
        result_give(j);
    }
    job_over(j,
             end == SMTP_END_STOPPED   ? JOB_STOPPED
             : end == SMTP_END_LIMITED ? JOB_LIMITED
                                       : JOB_UNREACHABLE,
             slice_str(status), buf_slice(&diag));
    buf_free(&diag);
}

static void mail_done(struct smtp_client_mail *m)
{
    struct remote_job *j = CONTAINER_OF(m, struct remote_job, mail);

    outcomes_of(j);
    if (m->end != SMTP_END_DONE) {
        mail_unsent(j);
        return;
    }
    j->losses = m->is_lost ? j->losses + 1 : 0;
    if (smtp_client_sent(j->conn->client) >= j->job->conf->transactions_max)
        conn_give(j, false);
    if (j->losses >= LOSSES_MAX) { /* in the job's memory, which the result gives back */
        const slice diag = m->rcpts[m->rcpt_count - 1].diag, status = m->rcpts[m->rcpt_count - 1].status;
        struct buf text = BUF_INIT;
        char code[QUEUE_STATUS_MAX];

        buf_put_slice(&text, diag);
        snprintf(code, sizeof code, "%.*s", SLICE_ARG(status));
        outcome_rest(j, status, diag);
        result_give(j);
        job_over(j, JOB_UNREACHABLE, slice_str(code), buf_slice(&text));
        buf_free(&text);
        return;
    }
    mail_begin(j);
}

/* The next recipients of the entry that wait; none: its result. */
static void mail_begin(struct remote_job *j)
{
    const struct queue_entry *e = &j->entry;
    struct smtp_client_mail *m = &j->mail;
    struct err err = ERR_INIT;
    unsigned max = j->job->conf->recipients_max;

    if (max > e->rcpt_count)
        max = e->rcpt_count;
    m->rcpts = arena_alloc_array(&j->mem, max, sizeof *m->rcpts);
    j->indexes = arena_alloc_array(&j->mem, max, sizeof *j->indexes);
    for (m->rcpt_count = 0; j->next_rcpt < e->rcpt_count && m->rcpt_count < max; j->next_rcpt++) {
        const struct queue_rcpt *r = &e->rcpts[j->next_rcpt];

        if (r->state != RCPT_WAITING)
            continue;
        j->indexes[m->rcpt_count] = j->next_rcpt;
        m->rcpts[m->rcpt_count++] =
            (struct smtp_client_rcpt){ .address = r->address, .orcpt = r->orcpt, .notify = r->notify };
    }
    if (m->rcpt_count == 0) {
        result_give(j);
        job_next(j);
        return;
    }
    if (j->conn == NULL)
        j->conn = conn_new(j, &err);
    if (j->conn == NULL) { /* our configuration: the mail waits */
        diag_error("channel", "%.*s: %s", SLICE_ARG(j->job->channel), err.text);
        m->end = SMTP_END_UNREACHABLE;
        m->status = SLICE("4.3.5");
        m->diag = slice_dup(&j->mem, slice_str(err.text));
        mail_unsent(j);
        return;
    }
    smtp_client_send(j->conn->client, m);
}

/* --- one entry ---------------------------------------------------------------------------------------------------- */

/* False: it is gone. */
static bool entry_load(struct remote_job *j, uint64_t id)
{
    struct smtp_client_mail *m = &j->mail;
    const struct queue_entry *e = &j->entry;

    if (!queue_entry_get(j->remote->setup.queue, NULL, id, &j->mem, &j->entry) || e->rcpt_count == 0) {
        arena_reset(&j->mem);
        return false;
    }
    j->outcomes = arena_alloc_array(&j->mem, e->rcpt_count, sizeof *j->outcomes);
    j->outcome_count = j->next_rcpt = 0;
    *m = (struct smtp_client_mail){
        .sender = e->sender,
        .envid = e->envid,
        .auth = e->auth,
        .ret = e->ret,
        .body = e->body,
        .is_smtputf8 = (e->flags & QUEUE_SMTPUTF8) != 0,
        .source = { .bytes = body_view_bytes(&e->view), .now = source_now, .wait = source_wait, .arg = j },
        .mem = &j->mem,
        .done = mail_done,
    };
    return true;
}

static void entry_begin(struct remote_job *j)
{
    struct err err = ERR_INIT;

    if (pins_take(j, &err) < 0) {
        diag_error("channel", "entry %llx cannot be read: %s", (unsigned long long)j->entry.id, err.text);
        outcome_rest(j, SLICE("4.3.0"), SLICE("the message cannot be read at the moment"));
        result_give(j);
        job_next(j);
        return;
    }
    mail_begin(j);
}

static void on_more(void *arg, unsigned count)
{
    struct remote_job *j = arg;

    j->next = 0;
    if (count == 0)
        job_over(j, j->at->is_stopping ? JOB_STOPPED : JOB_OK, SLICE_NONE, SLICE_NONE);
    else
        job_next(j);
}

static void job_next(struct remote_job *j)
{
    if (j->at->is_stopping) {
        job_over(j, JOB_STOPPED, SLICE_NONE, SLICE_NONE);
        return;
    }
    while (j->next < j->job->entry_count)
        if (entry_load(j, j->job->entries[j->next++].id)) {
            entry_begin(j);
            return;
        }
    if (j->job->is_probe)
        job_over(j, JOB_OK, SLICE_NONE, SLICE_NONE);
    else
        job_more(j->job, j->job->conf->threaddepth, j->at->worker->reactor, on_more, j);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static void on_start(struct post *p)
{
    struct remote_job *j = CONTAINER_OF(p, struct remote_job, post);

    list_push_back(&j->at->jobs, &j->link);
    if (!j->at->is_stopping)
        j->conn = conn_take(j);
    job_next(j);
}

void remote_start(struct remote *r, struct channel_job *job, bool is_lmtp)
{
    struct remote_job *j = mem_alloc(sizeof *j);
    const unsigned hint = r->hints[job->dest % HINTS];

    arena_init(&j->mem, ARENA_BYTES);
    list_init(&j->link);
    j->remote = r;
    j->job = job;
    j->is_lmtp = is_lmtp;
    job->worker = j;
    if (hint != 0) /* once: the next job of many goes to another thread */
        r->hints[job->dest % HINTS] = 0;
    j->at = &r->workers[hint != 0 ? hint - 1 : r->next++ % r->worker_count];
    reactor_post(j->at->worker->reactor, &j->post, on_start);
}

static void on_stop(struct post *p)
{
    struct remote_worker *at = CONTAINER_OF(p, struct remote_worker, stop);

    at->is_stopping = true;
    LIST_FOREACH_SAFE(&at->idle, it)
        conn_free(LIST_ENTRY(it, struct remote_conn, link));
    at->idle_count = 0;
    LIST_FOREACH(&at->jobs, it) {
        const struct remote_job *j = LIST_ENTRY(it, struct remote_job, link);

        if (j->conn != NULL)
            smtp_client_stop(j->conn->client);
    }
}

void remote_stop(struct remote *r)
{
    for (unsigned i = 0; i < r->worker_count; i++)
        reactor_post(r->workers[i].worker->reactor, &r->workers[i].stop, on_stop);
}

int remote_new(struct remote **out, const struct remote_setup *setup, struct err *err)
{
    struct remote *r = mem_alloc(sizeof *r);

    (void)err;
    r->setup = *setup;
    r->worker_count = client_pool_workers(setup->pool);
    r->workers = mem_alloc_array(r->worker_count, sizeof *r->workers);
    for (unsigned i = 0; i < r->worker_count; i++) {
        r->workers[i].remote = r;
        r->workers[i].worker = client_pool_worker(setup->pool, i);
        r->workers[i].index = i;
        list_init(&r->workers[i].jobs);
        list_init(&r->workers[i].idle);
    }
    *out = r;
    return 0;
}

void remote_destroy(struct remote **rp)
{
    struct remote *r = *rp;

    *rp = NULL;
    if (r == NULL)
        return;
    mem_free(r->workers);
    mem_free(r);
}
