/* queue_file.c - the methods behind queue export and import. See verb_queue.h for the format. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/mem.h"
#include "control/queue_filter.h"

#define FORMAT 1
#define SLICE_ENTRIES 100u
#define MESSAGE_MAX (2046u * 1024 * 1024)

static const char *const priorities[QUEUE_PRIORITIES] = { "urgent", "normal", "nonurgent" };

/* --- export ------------------------------------------------------------------------------------------------------- */

struct exporting {
    struct rpc_call *call;
    struct queue_filter filter;
    FILE *file;
    uint64_t written, failed;
    struct err err; /* of the file */
};

/* The message as its next reader is to see it. */
static int message_load(struct journal *j, const struct body_view *view, struct buf *out, struct err *err)
{
    struct buf body = BUF_INIT;
    struct journal_view v;
    int rc = -1;

    if (journal_read_begin(j, &v, err) < 0)
        return -1;
    if ((view->header_id == 0 || journal_body_load(j, &v, view->header_id, MESSAGE_MAX, out, err) == 0) &&
        journal_body_load(j, &v, view->body_id, MESSAGE_MAX, &body, err) == 0) {
        buf_put_slice(out, slice_sub(buf_slice(&body), view->body_at, view->body_bytes));
        rc = 0;
    }
    journal_read_end(&v);
    buf_free(&body);
    return rc;
}

static void put_str(json_t *o, const char *name, slice s)
{
    if (s.len != 0)
        json_object_set_new(o, name, json_from_slice(s));
}

static json_t *rcpts_array(const struct queue_entry *e)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < e->rcpt_count; i++) {
        const struct queue_rcpt *r = &e->rcpts[i];
        json_t *o;

        if (r->state != RCPT_WAITING)
            continue;
        o = json_object();
        put_str(o, "address", r->address);
        put_str(o, "original", r->original);
        put_str(o, "orcpt", r->orcpt);
        json_object_set_new(o, "notify", json_integer(r->notify));
        put_str(o, "status", r->status);
        put_str(o, "diagnostic", r->diag);
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *entry_json(const struct queue_entry *e, slice octets)
{
    struct buf text = BUF_INIT;
    json_t *o = json_object();
    char id[17];

    queue_entry_id_print(e->id, id);
    json_object_set_new(o, "id", json_string(id));
    put_str(o, "channel", e->channel);
    put_str(o, "host", e->host);
    json_object_set_new(o, "state", json_string(queue_state_names[e->state]));
    json_object_set_new(o, "priority", json_string(priorities[e->priority % QUEUE_PRIORITIES]));
    json_object_set_new(o, "flags", json_integer(e->flags));
    json_object_set_new(o, "created", json_integer(e->created_ms));
    json_object_set_new(o, "due", json_integer(e->due_ms));
    json_object_set_new(o, "attempts", json_integer(e->attempts));
    json_object_set_new(o, "ret", json_integer(e->ret));
    json_object_set_new(o, "body", json_integer(e->body));
    put_str(o, "sender", e->sender);
    put_str(o, "envid", e->envid);
    put_str(o, "auth", e->auth);
    put_str(o, "message_id", e->message_id);
    put_str(o, "source", e->source);
    put_str(o, "session", e->session);
    put_str(o, "source_system", e->source_host);
    put_str(o, "user", e->user);
    put_str(o, "reason", e->reason);
    json_object_set_new(o, "recipients", rcpts_array(e));
    base64_encode(&text, octets);
    json_object_set_new(o, "octets", json_from_slice(buf_slice(&text)));
    buf_free(&text);
    return o;
}

static void line_write(struct exporting *x, TAKES json_t *o)
{
    struct buf text = BUF_INIT;

    json_print(&text, o, false);
    buf_put_byte(&text, '\n');
    if (fwrite(text.ptr, 1, text.len, x->file) != text.len && x->err.kind == ERR_NONE)
        err_sys(&x->err, errno, "write");
    buf_free(&text);
    json_decref(o);
}

static void entry_export(struct exporting *x, uint64_t id)
{
    struct buf octets = BUF_INIT;
    struct err err = ERR_INIT;
    struct queue_entry e;
    struct arena mem;

    arena_init(&mem, 4096);
    if (queue_entry_get(x->call->env->site->queue, NULL, id, &mem, &e)) {
        if (message_load(x->call->env->site->journal, &e.view, &octets, &err) == 0) {
            line_write(x, entry_json(&e, buf_slice(&octets)));
            x->written++;
        } else {
            x->failed++;
        }
    }
    arena_free(&mem);
    buf_free(&octets);
}

struct matched {
    struct exporting *x;
    uint64_t ids[SLICE_ENTRIES];
    unsigned count;
};

static bool match(void *arg, const struct queue_entry *e)
{
    struct matched *m = arg;

    if (queue_filter_matches(&m->x->filter, e))
        m->ids[m->count++] = e->id;
    return m->count < SLICE_ENTRIES;
}

int rpc_queue_export(struct rpc_call *call, struct err *err)
{
    struct exporting x = { .call = call, .err = ERR_INIT };
    slice path = json_get_str(call->params, "file");
    char *name = mem_slice_str(path);
    uint64_t at = 0;
    int rc = -1;

    if (queue_filter_read(&x.filter, call->env->site->queue, call->params,
                          clock_wall_ms(&call->env->site->clock), err) < 0)
        goto out;
    x.file = fopen(name, "we");
    if (x.file == NULL) {
        err_sys(err, errno, "%s", name);
        goto out;
    }
    line_write(&x, json_pack("{s:i}", "posthouse_queue", FORMAT));
    do {
        struct matched m = { .x = &x };

        at = queue_each(call->env->site->queue, at, 4 * SLICE_ENTRIES, match, &m);
        for (unsigned i = 0; i < m.count && x.err.kind == ERR_NONE; i++)
            entry_export(&x, m.ids[i]);
    } while (at != 0 && x.err.kind == ERR_NONE);
    if ((fflush(x.file) != 0 || fsync(fileno(x.file)) < 0) && x.err.kind == ERR_NONE)
        err_sys(&x.err, errno, "%s", name);
    fclose(x.file);
    if (x.err.kind != ERR_NONE) {
        *err = x.err;
        goto out;
    }
    call->result = json_pack("{s:I, s:I}", "exported", (json_int_t)x.written, "unreadable", (json_int_t)x.failed);
    rc = 0;
out:
    mem_free(name);
    return rc;
}

/* --- import ------------------------------------------------------------------------------------------------------- */

static slice keep(struct arena *mem, const json_t *o, const char *name)
{
    return slice_dup(mem, json_get_str(o, name));
}

static int word_find(slice word, const char *const *names, unsigned count, unsigned fallback)
{
    for (unsigned i = 0; i < count; i++)
        if (slice_eq(word, slice_str(names[i])))
            return (int)i;
    return (int)fallback;
}

static bool rcpts_read(struct queue_entry *e, const json_t *array, struct arena *mem)
{
    size_t count = json_array_size(array);

    if (count == 0 || count > 100000)
        return false;
    e->rcpts = arena_alloc_array(mem, count, sizeof *e->rcpts);
    for (size_t i = 0; i < count; i++) {
        const json_t *o = json_array_get(array, i);
        struct queue_rcpt *r = &e->rcpts[i];

        r->address = keep(mem, o, "address");
        r->original = keep(mem, o, "original");
        r->orcpt = keep(mem, o, "orcpt");
        r->notify = (uint32_t)json_get_int(o, "notify", 0) & 0xf;
        r->status = keep(mem, o, "status");
        r->diag = keep(mem, o, "diagnostic");
        if (r->address.len == 0)
            return false;
    }
    e->rcpt_count = (unsigned)count;
    return true;
}

static bool entry_read(struct queue_entry *e, const json_t *o, struct arena *mem)
{
    *e = (struct queue_entry){
        .channel = keep(mem, o, "channel"),
        .host = keep(mem, o, "host"),
        .state = (enum queue_state)word_find(json_get_str(o, "state"), queue_state_names, QUEUE_HELD + 1, QUEUE_READY),
        .priority = (enum queue_priority)word_find(json_get_str(o, "priority"), priorities, QUEUE_PRIORITIES,
                                                   QUEUE_NORMAL),
        .flags = (uint32_t)json_get_int(o, "flags", 0) & 0x1f,
        .created_ms = json_get_int(o, "created", 0),
        .due_ms = json_get_int(o, "due", 0),
        .attempts = (uint32_t)json_get_int(o, "attempts", 0),
        .ret = (uint8_t)(json_get_int(o, "ret", 0) & 3),
        .body = (uint8_t)(json_get_int(o, "body", 0) & 3),
        .sender = keep(mem, o, "sender"),
        .envid = keep(mem, o, "envid"),
        .auth = keep(mem, o, "auth"),
        .message_id = keep(mem, o, "message_id"),
        .source = keep(mem, o, "source"),
        .session = keep(mem, o, "session"),
        .source_host = keep(mem, o, "source_system"),
        .user = keep(mem, o, "user"),
        .reason = keep(mem, o, "reason"),
    };
    if (e->ret > RET_HDRS || e->body > BODY_BINARYMIME || e->channel.len == 0)
        return false;
    return rcpts_read(e, json_object_get(o, "recipients"), mem);
}

/* One line: an entry of its own request, on disk when it returns 0. */
static int line_import(struct rpc_call *call, slice line, struct err *err)
{
    struct queue_request *r = queue_request_new(QUEUE_PUT);
    struct queue_addition *a = arena_alloc(&r->mem, sizeof *a);
    struct buf octets = BUF_INIT;
    json_t *o = json_parse(line, err);
    int rc = -1;

    r->by = SLICE("operator");
    r->additions = a;
    if (o == NULL)
        goto out;
    if (!entry_read(&a->entry, o, &r->mem) || !base64_decode(&octets, json_get_str(o, "octets"))) {
        err_set(err, ERR_SYNTAX, "no entry of a queue, or an incomplete one");
        goto out;
    }
    if (channel_conf_find(conf_section(call->conf, CONF_CHANNELS), a->entry.channel) == NULL) {
        err_set(err, ERR_NOTFOUND, "there is no channel \"%.*s\"", SLICE_ARG(slice_sub(a->entry.channel, 0, 40)));
        goto out;
    }
    a->body = body_writer_new(call->env->site->journal);
    if (body_writer_write(a->body, buf_slice(&octets), err) == 0 && body_writer_finish(a->body, err) == 0)
        rc = queue_request_wait(call->env->site->queue, r, err);
out:
    json_decref(o);
    buf_free(&octets);
    queue_request_destroy(&r);
    return rc;
}

int rpc_queue_import(struct rpc_call *call, struct err *err)
{
    char *name = mem_slice_str(json_get_str(call->params, "file")), *line = NULL;
    FILE *file = fopen(name, "re");
    uint64_t number = 0, done = 0;
    size_t room = 0;
    int rc = 0;

    if (file == NULL)
        rc = err_sys(err, errno, "%s", name);
    for (ssize_t len; rc == 0 && (len = getline(&line, &room, file)) > 0;) {
        slice text = slice_trim(slice_of(line, (size_t)len));
        struct err why = ERR_INIT;

        number++;
        if (number == 1 && !slice_eq(text, SLICE("{\"posthouse_queue\":1}")))
            rc = err_set(err, ERR_SYNTAX, "not a file of queue export");
        else if (number > 1 && text.len != 0 && line_import(call, text, &why) < 0)
            rc = err_set(err, why.kind, "line %llu: %.120s; %llu entries were taken before it",
                         (unsigned long long)number, why.text, (unsigned long long)done);
        else
            done += number > 1 && text.len != 0;
    }
    if (rc == 0 && number == 0)
        rc = err_set(err, ERR_SYNTAX, "the file is empty");
    if (rc == 0)
        call->result = json_pack("{s:I}", "imported", (json_int_t)done);
    free(line); /* of getline */
    if (file != NULL)
        fclose(file);
    mem_free(name);
    return rc;
}
