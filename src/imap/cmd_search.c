/* cmd_search.c - SEARCH and its answers, RFC 3501 6.4.4, RFC 4731, 7162. */
#include "imap/internal.h"

struct searching {
    struct imap_search_command args;
    struct imap_match match;
    uint32_t next;
    struct imap_set found; /* numbers, or UIDs */
    size_t cap;
    uint32_t count, min, max;
    uint64_t modseq; /* highest of the messages that the answer names */
    uint64_t modseq_min, modseq_max;
    bool has_failed;
};

static void searching_release(struct imap_session *s)
{
    struct searching *q = s->run->data;

    imap_message_free(&q->match.message);
    buf_free(&q->match.text);
    buf_free(&q->match.folded);
}

/* --- what was found ----------------------------------------------------------------------------------------------- */

static void found(struct imap_session *s, struct searching *q, const struct store_row *row)
{
    uint32_t n = s->run->is_uid ? row->uid : q->match.number;
    struct imap_range *last = q->found.count > 0 ? &q->found.ranges[q->found.count - 1] : NULL;

    if (q->count++ == 0) {
        q->min = n;
        q->modseq_min = row->modseq;
    }
    q->max = n;
    q->modseq_max = row->modseq;
    if (row->modseq > q->modseq)
        q->modseq = row->modseq;
    if (last != NULL && last->last + 1 == n) {
        last->last = n;
        return;
    }
    if (q->found.count == q->cap) {
        size_t cap = q->cap == 0 ? 16 : q->cap * 2;
        struct imap_range *grown = arena_alloc_array(&s->base.cmd_mem, cap, sizeof *grown);

        if (q->cap > 0)
            memcpy(grown, q->found.ranges, q->cap * sizeof *grown);
        q->found.ranges = grown;
        q->cap = cap;
    }
    q->found.ranges[q->found.count++] = (struct imap_range){ n, n };
}

/* "* SEARCH" *(SP nz-number) [SP "(MODSEQ" SP n ")"]        RFC 3501 7.2.5, RFC 7162 3.1.5 */
static void put_search(struct imap_session *s, const struct searching *q)
{
    struct buf *out = stream_out(imap_stream(s));
    struct imap_walk walk;
    uint32_t n;

    buf_put_str(out, "* SEARCH");
    imap_walk_init(&walk, &q->found);
    while (imap_walk_next(&walk, &n)) {
        buf_put_byte(out, ' ');
        buf_put_u64(out, n);
    }
    if (q->args.wants_modseq && q->count > 0)
        buf_printf(out, " (MODSEQ %llu)", (unsigned long long)q->modseq);
    buf_put_str(out, "\r\n");
}

/* RFC 7162 3.1.6: of the messages named; with MIN or MAX alone, of those. */
static uint64_t returned_modseq(const struct searching *q)
{
    uint64_t ends = 0;

    if (q->args.returns & (RETURN_ALL | RETURN_COUNT))
        return q->modseq;
    if (q->args.returns & RETURN_MIN)
        ends = q->modseq_min;
    return (q->args.returns & RETURN_MAX) != 0 && q->modseq_max > ends ? q->modseq_max : ends;
}

/* "* ESEARCH (TAG" SP string ")" [SP "UID"] *(SP item)        RFC 4731 3.1, RFC 4466 2.6.2 */
static void put_esearch(struct imap_session *s, const struct searching *q)
{
    struct buf *out = stream_out(imap_stream(s));

    buf_printf(out, "* ESEARCH (TAG \"%.*s\")%s", SLICE_ARG(s->run->tag), s->run->is_uid ? " UID" : "");
    if ((q->args.returns & RETURN_MIN) && q->count > 0)
        buf_printf(out, " MIN %u", q->min);
    if ((q->args.returns & RETURN_MAX) && q->count > 0)
        buf_printf(out, " MAX %u", q->max);
    if ((q->args.returns & RETURN_ALL) && q->count > 0) {
        buf_put_str(out, " ALL ");
        imap_set_print(&q->found, out);
    }
    if (q->args.returns & RETURN_COUNT)
        buf_printf(out, " COUNT %u", q->count);
    if (q->args.wants_modseq && q->count > 0)
        buf_printf(out, " MODSEQ %llu", (unsigned long long)returned_modseq(q));
    buf_put_str(out, "\r\n");
}

/* --- slices ------------------------------------------------------------------------------------------------------- */

static void search_work(struct imap_session *s)
{
    struct searching *q = s->run->data;
    uint32_t count = store_view_count(s->box->view);

    q->match.message.octets_read = 0;
    for (unsigned done = 0; q->next <= count; q->next++, done++) {
        if (done == IMAP_SLICE_MESSAGES || q->match.message.octets_read >= IMAP_SLICE_BYTES)
            break;
        q->match.number = q->next;
        imap_message_set(&q->match.message, imap_box_row(s->box, q->next));
        if (imap_match(&q->match, q->args.top))
            found(s, q, q->match.message.row);
        q->has_failed |= q->match.message.has_failed;
    }
    imap_message_slice_end(&q->match.message);
}

static enum imap_next search_slice(struct imap_session *s)
{
    struct searching *q = s->run->data;

    if (q->next <= store_view_count(s->box->view)) {
        if (imap_match_needs_text(q->args.top))
            return imap_help(s, search_work, search_slice);
        search_work(s);
        return NEXT_AGAIN;
    }
    if (q->args.has_return)
        put_esearch(s, q);
    else
        put_search(s, q);
    return imap_answer(s, IMAP_R_DONE);
}

enum imap_next imap_cmd_search(struct imap_session *s)
{
    struct searching *q = arena_alloc(&s->base.cmd_mem, sizeof *q);
    struct imap_in *in = &s->run->in;

    if (!imap_sp(in) || !imap_search_parse(in, &q->args))
        return imap_bad(s);
    switch (imap_match_prepare(s, q->args.top, q->args.charset)) {
    case BAD_CHARSET:
        return imap_answer(s, IMAP_R_BAD_CHARSET);
    case BAD_NUMBER:
        return imap_answer(s, IMAP_R_BAD_NUMBER);
    case PREPARED:
        break;
    }
    if (q->args.wants_modseq) /* RFC 7162 3.1: enables CONDSTORE */
        s->is_condstore = true;
    q->match.now_ms = clock_wall_ms(imap_service(s)->clock);
    q->next = 1;
    imap_message_init(&q->match.message, s);
    q->match.box = s->box;
    s->run->data = q;
    s->run->release = searching_release;
    s->run->resume = search_slice;
    return NEXT_AGAIN;
}
