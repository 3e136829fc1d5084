/* cmd_any.c - CAPABILITY, NOOP, LOGOUT, ID, ENABLE, NAMESPACE, IDLE, and quotas. */
#include "imap/internal.h"

enum imap_next imap_cmd_capability(struct imap_session *s)
{
    struct buf *out = stream_out(imap_stream(s));

    if (!imap_end(&s->run->in))
        return imap_bad(s);
    buf_put_str(out, "* CAPABILITY ");
    imap_capability(s, out);
    buf_put_str(out, "\r\n");
    return imap_answer(s, IMAP_R_DONE);
}

enum imap_next imap_cmd_noop(struct imap_session *s)
{
    return imap_end(&s->run->in) ? imap_answer(s, IMAP_R_DONE) : imap_bad(s);
}

enum imap_next imap_cmd_logout(struct imap_session *s)
{
    if (!imap_end(&s->run->in))
        return imap_bad(s);
    imap_box_close(s); /* nobody needs its news now */
    imap_untagged(s, IMAP_R_LOGOUT);
    s->wants_bye = true;
    return imap_answer(s, IMAP_R_DONE);
}

/* id = "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil)        RFC 2971 4; at most 30 pairs */
enum imap_next imap_cmd_id(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    slice field, value;
    bool is_nil, more;

    if (!imap_sp(in))
        return imap_bad(s);
    if (!imap_word(in, "NIL")) {
        if (!imap_char(in, '('))
            return imap_bad(s);
        more = !imap_peek(in, ')');
        for (unsigned pairs = 0; more; pairs++) {
            if (pairs == 30 && !imap_in_fail(in, "at most 30 pairs"))
                return imap_bad(s);
            if (!imap_string(in, &field) || !imap_sp(in) || !imap_nstring(in, &value, &is_nil))
                return imap_bad(s);
            more = imap_skip(in, ' ');
        }
        if (!imap_char(in, ')'))
            return imap_bad(s);
    }
    if (!imap_end(in))
        return imap_bad(s);
    stream_put(imap_stream(s),
               imap_conf_of(s)->id ? SLICE("* ID (\"name\" \"Posthouse\")\r\n") : SLICE("* ID NIL\r\n"));
    return imap_answer(s, IMAP_R_DONE);
}

/* enable = "ENABLE" 1*(SP capability)        RFC 5161 3.1 */
enum imap_next imap_cmd_enable(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    bool condstore = false;
    slice name;

    do {
        if (!imap_sp(in) || !imap_atom(in, &name))
            return imap_bad(s);
        condstore |= slice_eq_nocase(name, SLICE("CONDSTORE"));
    } while (imap_peek(in, ' '));
    if (!imap_end(in))
        return imap_bad(s);
    stream_printf(imap_stream(s), "* ENABLED%s\r\n", condstore ? " CONDSTORE" : "");
    s->is_condstore |= condstore;
    return imap_answer(s, IMAP_R_DONE);
}

enum imap_next imap_cmd_namespace(struct imap_session *s)
{
    if (!imap_end(&s->run->in))
        return imap_bad(s);
    stream_put(imap_stream(s), SLICE("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"));
    return imap_answer(s, IMAP_R_DONE);
}

/* --- IDLE, RFC 2177 ----------------------------------------------------------------------------------------------- */

static void idle_release(struct imap_session *s)
{
    (void)s;
    counter_add(&imap_counters[IC_IDLING], -1);
}

enum imap_next imap_cmd_idle(struct imap_session *s)
{
    if (!imap_end(&s->run->in))
        return imap_bad(s);
    stream_put(imap_stream(s), SLICE("+ idling\r\n"));
    if (s->box != NULL)
        imap_watch_start(s);
    imap_count(IC_IDLING);
    s->run->release = idle_release;
    imap_enter(s, IMAP_IDLING);
    return NEXT_READ;
}

static enum step end_idle(struct imap_session *s, enum imap_reply r)
{
    imap_watch_stop(s);
    return imap_after(s, imap_answer(s, r));
}

enum step imap_step_idling(struct imap_session *s)
{
    slice line;

    if (s->run->is_helped)
        return STEP_WAIT;
    if (s->box != NULL && s->box->is_changed) {
        if (!s->run->is_warm && imap_box_is_heavy(s)) {
            s->run->is_warm = true;
            return imap_after(s, imap_help(s, imap_box_warm, NULL));
        }
        s->box->is_changed = s->run->is_warm = false;
        imap_box_sync(s, true, NULL);
        store_view_unref(&s->box->warm);
        if (s->box->is_gone)
            return end_idle(s, IMAP_R_DONE);
    }
    switch (stream_line(imap_stream(s), 1024, false, &line)) {
    case FRAME_OK:
        if (slice_eq_nocase(line, SLICE("DONE")))
            return end_idle(s, IMAP_R_DONE);
        break;
    case FRAME_MORE:
        return STEP_WANT_READ;
    case FRAME_TOO_LONG:
    case FRAME_BARE:
        break;
    case FRAME_EOF:
        return STEP_CLOSE;
    }
    s->errors++;
    return end_idle(s, IMAP_R_NOT_DONE);
}

/* --- quotas, RFC 9208: one root, "", for the account's octets ----------------------------------------------------- */

static bool put_quota(struct imap_session *s)
{
    const struct imap_service *service = imap_service(s);
    struct journal_view v;
    struct store_quota q;
    bool ok = false;

    if (journal_read_begin(service->journal, &v, NULL) == 0)
        ok = store_account_quota(service->store, &v, s->account, &q);
    journal_read_end(&v);
    if (!ok)
        return false;
    if (q.limit_bytes == 0)
        stream_put(imap_stream(s), SLICE("* QUOTA \"\" ()\r\n"));
    else /* in units of 1,024 octets, RFC 9208 5.1 */
        stream_printf(imap_stream(s), "* QUOTA \"\" (STORAGE %llu %llu)\r\n",
                      (unsigned long long)((q.used_bytes + 1023) / 1024),
                      (unsigned long long)((q.limit_bytes + 1023) / 1024));
    return true;
}

enum imap_next imap_cmd_getquota(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    slice root;

    if (!imap_sp(in) || !imap_astring(in, &root) || !imap_end(in))
        return imap_bad(s);
    if (root.len > 0)
        return imap_answer(s, IMAP_R_NO_QUOTA_ROOT);
    return imap_answer(s, put_quota(s) ? IMAP_R_DONE : IMAP_R_TEMP);
}

enum imap_next imap_cmd_getquotaroot(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    struct store_mailbox m;
    slice wire, name;
    struct buf *out;

    if (!imap_sp(in) || !imap_mailbox(in, &wire) || !imap_end(in))
        return imap_bad(s);
    if (!imap_name_in(s, wire, &name) || !imap_mailbox_find(s, name, &m))
        return imap_answer(s, IMAP_R_NONEXISTENT);
    out = stream_out(imap_stream(s));
    buf_put_str(out, "* QUOTAROOT ");
    imap_name_out(name, out);
    buf_put_str(out, " \"\"\r\n");
    return imap_answer(s, put_quota(s) ? IMAP_R_DONE : IMAP_R_TEMP);
}

enum imap_next imap_cmd_setquota(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    slice root;

    if (!imap_sp(in) || !imap_astring(in, &root))
        return imap_bad(s);
    return imap_answer(s, IMAP_R_NO_SETQUOTA);
}
