/* cmd_list.c - LIST and LSUB, RFC 3501 6.3.8-9, RFC 5258, 5819, 6154. */
#include "imap/internal.h"

#include <stdlib.h>

#include "base/map.h"
#include "mail/utf7.h"

#define PATTERN_OCTETS_MAX 8192u /* of all patterns: matching costs their length for every name */

struct entry {
    struct store_mailbox m; /* id 0: there is only a subscription, or only inferior names */
    bool has_children;      /* that exist */
    bool has_subscribed;    /* inferior names that are subscribed */
};

struct listing {
    struct imap_list args;
    bool is_lsub;
    struct arena *mem;
    struct entry *entries;
    size_t count, cap, at;
    struct map by_name; /* index + 1 */
};

/* --- gathering ---------------------------------------------------------------------------------------------------- */

static struct entry *entry_add(struct listing *l, slice name)
{
    struct entry *e;

    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 64 : l->cap * 2;
        struct entry *grown = arena_alloc_array(l->mem, cap, sizeof *grown);

        if (l->count > 0)
            memcpy(grown, l->entries, l->count * sizeof *grown);
        l->entries = grown;
        l->cap = cap;
    }
    e = &l->entries[l->count++];
    e->m.name = slice_dup(l->mem, name);
    map_put(&l->by_name, e->m.name, (void *)(uintptr_t)l->count);
    return e;
}

static struct entry *entry_find(struct listing *l, slice name)
{
    uintptr_t at = (uintptr_t)map_get(&l->by_name, name);

    return at == 0 ? NULL : &l->entries[at - 1];
}

static bool gather_one(void *arg, const struct store_mailbox *m)
{
    struct listing *l = arg;
    struct entry *e = entry_add(l, m->name);
    slice name = e->m.name;

    e->m = *m;
    e->m.name = name;
    return true;
}

/* Names above a name: made where they are missing, and told of what is below. */
static void climb(struct listing *l, size_t index)
{
    bool exists = l->entries[index].m.id != 0, subscribed = l->entries[index].m.is_subscribed;
    slice name = l->entries[index].m.name;
    ssize_t cut;

    while ((cut = slice_rfind_byte(name, '/')) > 0) {
        struct entry *above;

        name.len = (size_t)cut;
        above = entry_find(l, name);
        if (above == NULL)
            above = entry_add(l, name);
        above->has_children |= exists;
        above->has_subscribed |= subscribed;
    }
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return slice_cmp(x->m.name, y->m.name);
}

static int gather(struct imap_session *s, struct listing *l)
{
    const struct imap_service *service = imap_service(s);
    struct journal_view v;
    size_t listed;
    int rc = -1;

    map_init(&l->by_name);
    if (journal_read_begin(service->journal, &v, NULL) == 0) {
        store_mailbox_list(service->store, &v, s->account, gather_one, l);
        rc = v.failed ? -1 : 0;
    }
    journal_read_end(&v);
    listed = l->count;
    for (size_t i = 0; i < listed; i++)
        climb(l, i);
    map_free(&l->by_name);
    if (l->count > 1)
        qsort(l->entries, l->count, sizeof *l->entries, by_name);
    return rc;
}

/* --- choosing ----------------------------------------------------------------------------------------------------- */

static bool matches(const struct listing *l, slice name, bool *ends_narrow)
{
    for (unsigned i = 0; i < l->args.pattern_count; i++) {
        slice p = l->args.patterns[i];

        if (!imap_list_match(p, name))
            continue;
        *ends_narrow = slice_find_byte(p, '%') >= 0;
        return true;
    }
    return false;
}

/* Is the entry listed, and as what? */
static bool is_chosen(const struct listing *l, const struct entry *e, bool *is_parent_only)
{
    bool narrow, exists = e->m.id != 0;

    *is_parent_only = false;
    if (!matches(l, e->m.name, &narrow))
        return false;
    if (l->is_lsub) { /* RFC 3501 6.3.9: with "%", the name above a subscribed one */
        *is_parent_only = !e->m.is_subscribed;
        return e->m.is_subscribed || (narrow && e->has_subscribed);
    }
    if ((l->args.select & LIST_SPECIAL) != 0 && e->m.special_use == 0)
        return false;
    if ((l->args.select & LIST_SUBSCRIBED) != 0)
        return e->m.is_subscribed || ((l->args.select & LIST_RECURSIVE) != 0 && e->has_subscribed);
    return exists || e->has_children;
}

/* --- answering ---------------------------------------------------------------------------------------------------- */

static void put_attribute(struct buf *out, const char **space, const char *name)
{
    buf_put_str(out, *space);
    buf_put_str(out, name);
    *space = " ";
}

static void put_entry(struct imap_session *s, const struct listing *l, const struct entry *e, bool is_parent_only)
{
    bool tells_subscribed = (l->args.select & LIST_SUBSCRIBED) || (l->args.returns & LIST_RETURN_SUBSCRIBED);
    struct buf *out = stream_out(imap_stream(s));
    const char *space = "";

    buf_put_str(out, l->is_lsub ? "* LSUB (" : "* LIST (");
    if (is_parent_only || e->m.id == 0)
        put_attribute(out, &space, l->args.is_extended ? "\\NonExistent" : "\\Noselect");
    if (!l->is_lsub) {
        put_attribute(out, &space, e->has_children ? "\\HasChildren" : "\\HasNoChildren");
        if (tells_subscribed && e->m.is_subscribed)
            put_attribute(out, &space, "\\Subscribed");
        if (e->m.special_use != 0)
            put_attribute(out, &space, store_special_names[e->m.special_use]);
    }
    buf_put_str(out, ") \"/\" ");
    imap_name_out(e->m.name, out);
    if ((l->args.select & LIST_RECURSIVE) != 0 && e->has_subscribed)
        buf_put_str(out, " (\"CHILDINFO\" (\"SUBSCRIBED\"))"); /* RFC 5258 3.5 */
    buf_put_str(out, "\r\n");
    if ((l->args.returns & LIST_RETURN_STATUS) != 0 && e->m.id != 0)
        imap_status_put(s, &e->m, l->args.status_items);
}

static enum imap_next list_slice(struct imap_session *s)
{
    struct listing *l = s->run->data;
    unsigned done = 0;
    bool is_parent_only;

    for (; l->at < l->count && done < IMAP_SLICE_MESSAGES; l->at++, done++)
        if (is_chosen(l, &l->entries[l->at], &is_parent_only))
            put_entry(s, l, &l->entries[l->at], is_parent_only);
    return l->at < l->count ? NEXT_AGAIN : imap_answer(s, IMAP_R_DONE);
}

/* Reference and pattern are one name; on the wire both are modified UTF-7. False: too long, or not decodable. */
static bool prepare(struct imap_session *s, struct imap_list *args)
{
    size_t octets = 0;

    for (unsigned i = 0; i < args->pattern_count; i++) {
        slice wire = arena_printf(&s->base.cmd_mem, "%.*s%.*s", SLICE_ARG(args->reference),
                                  SLICE_ARG(args->patterns[i]));
        struct buf utf8 = BUF_INIT;
        bool ok = (octets += wire.len) <= PATTERN_OCTETS_MAX && utf7_to_utf8(wire, &utf8);

        args->patterns[i] = slice_dup(&s->base.cmd_mem, buf_slice(&utf8));
        buf_free(&utf8);
        if (!ok)
            return false;
    }
    return true;
}

static enum imap_next list(struct imap_session *s, bool is_lsub)
{
    struct imap_in *in = &s->run->in;
    struct listing *l = arena_alloc(&s->base.cmd_mem, sizeof *l);

    if (!imap_sp(in) || !imap_list_parse(in, is_lsub, &l->args))
        return imap_bad(s);
    l->is_lsub = is_lsub;
    l->mem = &s->base.cmd_mem;
    if (!is_lsub && !l->args.is_extended && l->args.patterns[0].len == 0) { /* what is the separator? */
        stream_put(imap_stream(s), SLICE("* LIST (\\Noselect) \"/\" \"\"\r\n"));
        return imap_answer(s, IMAP_R_DONE);
    }
    if (!prepare(s, &l->args)) /* no mailbox has such a name */
        return imap_answer(s, IMAP_R_DONE);
    if (gather(s, l) < 0)
        return imap_answer(s, IMAP_R_TEMP);
    s->run->data = l;
    s->run->resume = list_slice;
    return NEXT_AGAIN;
}

enum imap_next imap_cmd_list(struct imap_session *s)
{
    return list(s, false);
}

enum imap_next imap_cmd_lsub(struct imap_session *s)
{
    return list(s, true);
}
