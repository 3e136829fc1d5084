/* server.c - the session: read a request, have its page made, answer, close. */
#include "base/counter.h"
#include "http/http.h"

enum http_state { HTTP_REQUEST, HTTP_FIELDS, HTTP_MAKING, HTTP_DONE };

struct http_session {
    struct session base; /* first */
    enum http_state state;
    bool is_head, is_made;
    struct http_request request;
    const struct http_page *page;
    struct job job;   /* MAKING: holds the session */
    struct conf_set *conf;
    struct buf body;
};

enum { HC_REQUESTS, HC_REFUSED, HC_COUNT };
static struct counter http_counters[HC_COUNT] = {
    [HC_REQUESTS] = { "http.requests", "Requests for pages.", COUNTER_TOTAL, 0 },
    [HC_REFUSED] = { "http.refused", "Requests that were refused.", COUNTER_TOTAL, 0 },
};

void http_counters_register(void)
{
    counter_register(http_counters, HC_COUNT);
}

static struct http_session *http_of(struct session *s)
{
    return (struct http_session *)(void *)s;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static const struct status_row {
    unsigned code;
    const char *text;
} statuses[] = {
    { 200, "OK" },
    { 400, "Bad Request" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 431, "Request Header Fields Too Large" },
    { 503, "Service Unavailable" },
    { 505, "HTTP Version Not Supported" },
};

static const char *status_text(unsigned code)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].code == code)
            return statuses[i].text;
    return "Error";
}

static void put_head(struct http_session *h, unsigned code, const char *type, size_t length)
{
    stream_printf(h->base.stream,
                  "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n%s"
                  "Connection: close\r\n\r\n",
                  code, status_text(code), type, length, code == 405 ? "Allow: GET\r\n" : "");
}

static enum step refuse(struct http_session *h, unsigned code)
{
    const char *text = status_text(code);

    counter_add(&http_counters[HC_REFUSED], 1);
    put_head(h, code, "text/plain; charset=utf-8", strlen(text) + 1);
    if (!h->is_head)
        stream_printf(h->base.stream, "%s\n", text);
    h->state = HTTP_DONE;
    return STEP_CLOSE;
}

static enum step answer(struct http_session *h)
{
    counter_add(&http_counters[HC_REQUESTS], 1);
    put_head(h, 200, h->page->type, h->body.len);
    stream_put(h->base.stream, buf_slice(&h->body));
    h->state = HTTP_DONE;
    return STEP_CLOSE;
}

/* --- making the page ---------------------------------------------------------------------------------------------- */

static void make_run(struct job *job)
{
    struct http_session *h = CONTAINER_OF(job, struct http_session, job);

    h->page->make(h->page->arg, h->conf, &h->body);
}

static void make_done(struct job *job)
{
    struct http_session *h = CONTAINER_OF(job, struct http_session, job);

    h->is_made = true;
    if (session_release(&h->base))
        session_wake(&h->base);
}

static enum step make(struct http_session *h)
{
    const struct http_service *service = h->base.service;

    for (unsigned i = 0; i < service->page_count; i++)
        if (slice_eq(h->request.path, slice_str(service->pages[i].path)))
            h->page = &service->pages[i];
    if (h->page == NULL)
        return refuse(h, 404);
    if (!slice_eq(h->request.method, SLICE("GET")))
        return refuse(h, 405);
    h->conf = session_conf_ref(&h->base);
    h->job = (struct job){ .run = make_run, .done = make_done, .reactor = h->base.worker->reactor };
    session_hold(&h->base);
    if (h->base.worker->helpers == NULL || !pool_submit(h->base.worker->helpers, &h->job)) {
        session_release(&h->base);
        return refuse(h, 503);
    }
    h->state = HTTP_MAKING;
    h->base.wait = "page";
    return STEP_WAIT;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static enum step got_line(struct http_session *h, slice line)
{
    unsigned refusal = 0;

    if (h->state == HTTP_REQUEST) {
        refusal = http_request_line(line, &h->request);
        h->is_head = slice_eq(h->request.method, SLICE("HEAD"));
        h->request.method = slice_dup(&h->base.mem, h->request.method);
        h->request.path = slice_dup(&h->base.mem, h->request.path);
        h->state = HTTP_FIELDS;
        if (refusal != 0) /* whatever follows is no header of ours */
            return refuse(h, refusal);
        return STEP_AGAIN;
    }
    if (line.len == 0) {
        refusal = http_request_end(&h->request);
        return refusal != 0 ? refuse(h, refusal) : make(h);
    }
    refusal = http_field_line(line, &h->request);
    return refusal != 0 ? refuse(h, refusal) : STEP_AGAIN;
}

static enum step http_step(struct session *s)
{
    struct http_session *h = http_of(s);
    slice line;

    if (h->state == HTTP_DONE)
        return STEP_CLOSE;
    if (h->state == HTTP_MAKING)
        return h->is_made ? answer(h) : STEP_WAIT;
    switch (stream_line(s->stream, HTTP_LINE_MAX, false, &line)) {
    case FRAME_OK:
        return got_line(h, line);
    case FRAME_MORE:
        return STEP_WANT_READ;
    case FRAME_TOO_LONG:
        return refuse(h, h->state == HTTP_REQUEST ? 400 : 431);
    case FRAME_BARE:
        return refuse(h, 400);
    case FRAME_EOF:
        break;
    }
    return STEP_CLOSE;
}

/* --- the protocol row --------------------------------------------------------------------------------------------- */

static void http_opened(struct session *s)
{
    buf_init(&http_of(s)->body);
    session_timeout(s, HTTP_TIMEOUT_MS);
}

static void http_timed_out(struct session *s)
{
    if (http_of(s)->state != HTTP_DONE)
        (void)refuse(http_of(s), 408);
}

static void http_closed(struct session *s)
{
    struct http_session *h = http_of(s);

    if (h->conf != NULL)
        snap_unref(&h->conf->snap);
    buf_free(&h->body);
}

static const char *http_describe(struct session *s, struct buf *out UNUSED)
{
    static const char *const names[] = {
        [HTTP_REQUEST] = "request", [HTTP_FIELDS] = "fields", [HTTP_MAKING] = "making", [HTTP_DONE] = "done"
    };

    return names[http_of(s)->state];
}

const struct protocol http_metrics_protocol = {
    .name = "metrics",
    .session_bytes = sizeof(struct http_session),
    .opened = http_opened,
    .step = http_step,
    .timed_out = http_timed_out,
    .busy_text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n",
    .closed = http_closed,
    .describe = http_describe,
};
