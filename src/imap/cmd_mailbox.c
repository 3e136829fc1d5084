/* cmd_mailbox.c - SELECT, EXAMINE, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS, CLOSE, UNSELECT, CHECK. */
#include "imap/internal.h"

#include "base/diag.h"

/* --- SELECT and EXAMINE, RFC 3501 6.3.1 --------------------------------------------------------------------------- */

static void put_selected(struct imap_session *s, const struct store_view *v)
{
    const uint32_t all = IMAP_ANSWERED | IMAP_FLAGGED | IMAP_DELETED | IMAP_SEEN | IMAP_DRAFT;
    struct buf *out = stream_out(imap_stream(s));

    buf_put_str(out, "* FLAGS ");
    imap_flags_print(v, all, UINT64_MAX, out);
    buf_put_str(out, "\r\n* OK [PERMANENTFLAGS (");
    if (!s->box->is_read_only) {
        struct buf flags = BUF_INIT;

        imap_flags_print(v, all, UINT64_MAX, &flags);
        buf_put(out, flags.ptr + 1, flags.len - 2);
        buf_put_str(out, " \\*");
        buf_free(&flags);
    }
    buf_put_str(out, ")] flags that are kept\r\n");
    buf_printf(out, "* %u EXISTS\r\n* 0 RECENT\r\n", store_view_count(v));
    if (store_view_first_unseen(v) != 0)
        buf_printf(out, "* OK [UNSEEN %u] first unseen\r\n", store_view_first_unseen(v));
    buf_printf(out, "* OK [UIDVALIDITY %u] UIDs are valid\r\n", store_view_uidvalidity(v));
    buf_printf(out, "* OK [UIDNEXT %u] next UID\r\n", store_view_uidnext(v));
    buf_printf(out, "* OK [HIGHESTMODSEQ %llu] highest\r\n", (unsigned long long)store_view_modseq(v));
    buf_printf(out, "* OK [MAILBOXID (M%llx)] identity\r\n", (unsigned long long)store_view_mailbox(v));
}

struct selecting {
    uint64_t mailbox;
    bool is_read_only;
    struct store_view *warm;
};

static void selecting_release(struct imap_session *s)
{
    struct selecting *sel = s->run->data;

    store_view_unref(&sel->warm);
}

static void select_work(struct imap_session *s)
{
    struct selecting *sel = s->run->data;
    struct err err = ERR_INIT;

    if (store_view_open(imap_service(s)->store, sel->mailbox, &sel->warm, &err) < 0)
        sel->warm = NULL; /* opening it again says why */
}

static enum imap_next select_opened(struct imap_session *s)
{
    const struct selecting *sel = s->run->data;
    struct err err = ERR_INIT;

    if (imap_box_open(s, sel->mailbox, sel->is_read_only, &err) < 0) {
        diag_error("imap", "opening a mailbox: %s", err.text);
        return imap_answer(s, err.kind == ERR_NOTFOUND ? IMAP_R_NONEXISTENT : IMAP_R_TEMP);
    }
    put_selected(s, s->box->view);
    imap_put_status(s, s->run->tag, sel->is_read_only ? IMAP_R_EXAMINED : IMAP_R_SELECTED);
    return NEXT_DONE;
}

static enum imap_next open_mailbox(struct imap_session *s, bool is_read_only)
{
    struct selecting *sel = arena_alloc(&s->base.cmd_mem, sizeof *sel);
    struct imap_in *in = &s->run->in;
    struct store_mailbox m;
    slice wire, name;

    if (!imap_sp(in) || !imap_mailbox(in, &wire))
        return imap_bad(s);
    if (imap_skip(in, ' ')) { /* RFC 7162 3.1.8 */
        if (!imap_char(in, '(') || (!imap_word(in, "CONDSTORE") && !imap_in_fail(in, "CONDSTORE")) ||
            !imap_char(in, ')'))
            return imap_bad(s);
        s->is_condstore = true;
    }
    if (!imap_end(in))
        return imap_bad(s);
    if (s->box != NULL) { /* also when the new one cannot be opened, RFC 3501 6.3.1 */
        imap_box_close(s);
        stream_put(imap_stream(s), SLICE("* OK [CLOSED] previous mailbox\r\n"));
    }
    if (!imap_name_in(s, wire, &name) || !imap_mailbox_find(s, name, &m))
        return imap_answer(s, IMAP_R_NONEXISTENT);
    sel->mailbox = m.id;
    sel->is_read_only = is_read_only;
    s->run->data = sel;
    s->run->release = selecting_release;
    if (store_view_is_heavy(imap_service(s)->store, m.id))
        return imap_help(s, select_work, select_opened);
    return select_opened(s);
}

enum imap_next imap_cmd_select(struct imap_session *s)
{
    return open_mailbox(s, false);
}

enum imap_next imap_cmd_examine(struct imap_session *s)
{
    return open_mailbox(s, true);
}

/* --- leaving ------------------------------------------------------------------------------------------------------ */

enum imap_next imap_cmd_unselect(struct imap_session *s)
{
    if (!imap_end(&s->run->in))
        return imap_bad(s);
    imap_box_close(s);
    return imap_answer(s, IMAP_R_DONE);
}

static enum imap_next closed(struct imap_session *s)
{
    enum store_result result = s->answer->result;

    /* The mailbox is left whatever became of the expunge, RFC 3501 6.4.2 has no other way out */
    imap_box_close(s);
    if (result == STORE_NO_MAILBOX)
        result = STORE_OK;
    return imap_answer(s, imap_reply_of(result, false));
}

/* Removes what carries \Deleted, without telling of it, also what came since the session last looked; RFC 3501
 * 6.4.2. */
enum imap_next imap_cmd_close(struct imap_session *s)
{
    struct uid_range *all;
    struct store_request *r;

    if (!imap_end(&s->run->in))
        return imap_bad(s);
    if (s->box->is_read_only) {
        imap_box_close(s);
        return imap_answer(s, IMAP_R_DONE);
    }
    r = imap_request_new(s, STORE_EXPUNGE);
    all = arena_alloc(&r->mem, sizeof *all);
    *all = (struct uid_range){ 1, UINT32_MAX };
    r->mailbox = s->box->mailbox;
    r->uids = all;
    r->uid_count = 1;
    r->only_deleted = true;
    return imap_request(s, r, closed);
}

enum imap_next imap_cmd_check(struct imap_session *s)
{
    return imap_end(&s->run->in) ? imap_answer(s, IMAP_R_DONE) : imap_bad(s);
}

/* --- changes of mailboxes ----------------------------------------------------------------------------------------- */

static enum imap_next mailbox_done(struct imap_session *s)
{
    return imap_answer(s, imap_reply_of(s->answer->result, false));
}

/* One mailbox name as the only argument, and a request about it. */
static enum imap_next one_name(struct imap_session *s, enum store_what what, imap_run_fn *done)
{
    struct imap_in *in = &s->run->in;
    struct store_request *r;
    slice wire, name;

    if (!imap_sp(in) || !imap_mailbox(in, &wire) || !imap_end(in))
        return imap_bad(s);
    if (!imap_name_in(s, wire, &name))
        return imap_answer(s, what == STORE_MAILBOX_DELETE ? IMAP_R_NONEXISTENT : IMAP_R_BAD_NAME);
    r = imap_request_new(s, what);
    r->name = slice_dup(&r->mem, name);
    return imap_request(s, r, done);
}

static enum imap_next created(struct imap_session *s)
{
    if (s->answer->result != STORE_OK)
        return mailbox_done(s);
    return imap_answer_code(s, IMAP_R_DONE, "MAILBOXID (M%llx)", (unsigned long long)s->answer->made_mailbox);
}

enum imap_next imap_cmd_create(struct imap_session *s)
{
    return one_name(s, STORE_MAILBOX_CREATE, created);
}

static enum imap_next deleted(struct imap_session *s)
{
    struct store_mailbox m;

    /* Our own selected mailbox: it is left, the others who have it selected are sent away */
    if (s->answer->result == STORE_OK && s->box != NULL) {
        struct journal_view v;
        bool is_there = true;

        if (journal_read_begin(imap_service(s)->journal, &v, NULL) == 0)
            is_there = store_mailbox_get(imap_service(s)->store, &v, s->box->mailbox, &m);
        journal_read_end(&v);
        if (!is_there) {
            imap_box_close(s);
            stream_put(imap_stream(s), SLICE("* OK [CLOSED] the mailbox was deleted\r\n"));
        }
    }
    return mailbox_done(s);
}

enum imap_next imap_cmd_delete(struct imap_session *s)
{
    return one_name(s, STORE_MAILBOX_DELETE, deleted);
}

enum imap_next imap_cmd_subscribe(struct imap_session *s)
{
    return one_name(s, STORE_SUBSCRIBE, mailbox_done);
}

enum imap_next imap_cmd_unsubscribe(struct imap_session *s)
{
    return one_name(s, STORE_UNSUBSCRIBE, mailbox_done);
}

enum imap_next imap_cmd_rename(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    struct store_request *r;
    slice from, to, name, new_name;

    if (!imap_sp(in) || !imap_mailbox(in, &from) || !imap_sp(in) || !imap_mailbox(in, &to) || !imap_end(in))
        return imap_bad(s);
    if (!imap_name_in(s, from, &name))
        return imap_answer(s, IMAP_R_NONEXISTENT);
    if (!imap_name_in(s, to, &new_name))
        return imap_answer(s, IMAP_R_BAD_NAME);
    r = imap_request_new(s, STORE_MAILBOX_RENAME);
    r->name = slice_dup(&r->mem, name);
    r->new_name = slice_dup(&r->mem, new_name);
    return imap_request(s, r, mailbox_done);
}

/* --- STATUS, RFC 3501 6.3.10 -------------------------------------------------------------------------------------- */

void imap_status_put(struct imap_session *s, const struct store_mailbox *m, uint32_t items)
{
    const struct {
        uint32_t item;
        const char *word;
        uint64_t value;
    } rows[] = {
        { STATUS_MESSAGES, "MESSAGES", m->messages },
        { STATUS_RECENT, "RECENT", 0 },
        { STATUS_UIDNEXT, "UIDNEXT", m->uidnext },
        { STATUS_UIDVALIDITY, "UIDVALIDITY", m->uidvalidity },
        { STATUS_UNSEEN, "UNSEEN", m->unseen },
        { STATUS_DELETED, "DELETED", m->deleted },
        { STATUS_SIZE, "SIZE", m->bytes },
        { STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ", m->highest_modseq },
        { STATUS_APPENDLIMIT, "APPENDLIMIT", imap_conf_of(s)->append_bytes_max },
    };
    struct buf *out = stream_out(imap_stream(s));
    const char *space = "";

    buf_put_str(out, "* STATUS ");
    imap_name_out(m->name, out);
    buf_put_str(out, " (");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if ((items & rows[i].item) == 0)
            continue;
        buf_printf(out, "%s%s %llu", space, rows[i].word, (unsigned long long)rows[i].value);
        space = " ";
    }
    if (items & STATUS_MAILBOXID)
        buf_printf(out, "%sMAILBOXID (M%llx)", space, (unsigned long long)m->id);
    buf_put_str(out, ")\r\n");
}

enum imap_next imap_cmd_status(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    struct store_mailbox m;
    uint32_t items;
    slice wire, name;

    if (!imap_sp(in) || !imap_mailbox(in, &wire) || !imap_sp(in) || !imap_status_items(in, &items) || !imap_end(in))
        return imap_bad(s);
    if (!imap_name_in(s, wire, &name) || !imap_mailbox_find(s, name, &m))
        return imap_answer(s, IMAP_R_NONEXISTENT);
    if (items & STATUS_HIGHESTMODSEQ) /* RFC 7162 3.1: enables CONDSTORE */
        s->is_condstore = true;
    imap_status_put(s, &m, items);
    return imap_answer(s, IMAP_R_DONE);
}
