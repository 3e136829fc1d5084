#include "config/tables.h"

#include <unistd.h>

#include "auth/auth.h"
#include "control/conf.h"
#include "dir/dir.h"
#include "imap/imap.h"
#include "intake/intake.h"
#include "journal/journal.h"
#include "log/txlog.h"
#include "net/conf.h"
#include "net/dns.h"
#include "pop3/pop3.h"
#include "queue/conf.h"
#include "queue/notice.h"
#include "route/short.h"
#include "smtp/client.h"
#include "smtp/smtp.h"
#include "store/store.h"

#define NEAR_MAX 3

/* What listeners may speak: the names under which server.c registers protocols. */
static const char *const protocols[] = { "smtp", "submission", "lmtp", "imap", "pop3", "metrics" };

static bool protocol_check(const struct listener_conf *l, keys_report_fn *report, void *arg)
{
    struct buf pointer = BUF_INIT, message = BUF_INIT;

    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (slice_eq(l->protocol, slice_str(protocols[i])))
            return true;
    buf_printf(&pointer, "/listeners/%.*s/protocol", SLICE_ARG(l->name));
    buf_printf(&message, "found \"%.*s\", expected one of", SLICE_ARG(l->protocol));
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        buf_printf(&message, "%s %s", i != 0 ? "," : "", protocols[i]);
    if (report != NULL)
        report(arg, buf_str(&pointer), buf_str(&message));
    buf_free(&pointer);
    buf_free(&message);
    return false;
}

/* What the metrics show is nobody's business but the host's own, unless somebody says so. */
static bool metrics_check(const struct conf_set *set, const struct listener_conf *l, keys_report_fn *report, void *arg)
{
    const struct control_conf *control = set->section[CONF_CONTROL];
    struct buf pointer = BUF_INIT;
    bool is_good = true;

    if (!slice_eq(l->protocol, SLICE("metrics")) || control->metrics_public)
        return true;
    for (size_t i = 0; i < l->addr_count && is_good; i++)
        is_good = net_addr_is_loopback(&l->addrs[i]);
    buf_printf(&pointer, "/listeners/%.*s/addresses", SLICE_ARG(l->name));
    if (!is_good && report != NULL)
        report(arg, buf_str(&pointer),
               "metrics are served on loopback addresses only, unless control.metrics_public is true");
    buf_free(&pointer);
    return is_good;
}

#define HOSTNAME_MAX 256

/* A host without a name of its own in the document has the system's. */
static unsigned read_server(struct conf_set *set, const json_t *value UNUSED, keys_report_fn *report UNUSED,
                            void *arg UNUSED)
{
    /* The set is not published yet, so its sections may be written. */
    struct server_conf *server = (struct server_conf *)(uintptr_t)set->section[CONF_SERVER];
    char name[HOSTNAME_MAX] = "localhost";

    if (server->hostname.len != 0)
        return 0;
    (void)gethostname(name, sizeof name - 1);
    server->hostname = slice_dup(&set->mem, slice_str(name));
    return 0;
}

static unsigned read_listeners(struct conf_set *set, const json_t *value, keys_report_fn *report, void *arg)
{
    /* The set is not published yet, so its sections may be written. */
    struct net_conf *net = (struct net_conf *)(uintptr_t)set->section[CONF_NET];
    unsigned errors = net_conf_read_listeners(value, net, &set->mem, report, arg);

    /* Of listeners with other errors the room has said enough. */
    for (size_t i = 0; errors == 0 && i < net->listener_count; i++)
        errors += !protocol_check(&net->listeners[i], report, arg) ||
                  !metrics_check(set, &net->listeners[i], report, arg);
    return errors;
}

static unsigned read_intake(struct conf_set *set, const json_t *value UNUSED, keys_report_fn *report, void *arg)
{
    return intake_conf_check(set->section[CONF_INTAKE], report, arg);
}

static unsigned read_dns(struct conf_set *set, const json_t *value UNUSED, keys_report_fn *report, void *arg)
{
    return dns_conf_check(set->section[CONF_DNS], report, arg);
}

static unsigned read_routes(struct conf_set *set, const json_t *value, keys_report_fn *report, void *arg)
{
    struct routes_conf *routes = arena_alloc(&set->mem, sizeof *routes);

    set->section[CONF_ROUTES] = routes;
    return route_short_read(value, routes, &set->mem, report, arg);
}

/* With the pools, to which the channels belong. */
static unsigned read_channels(struct conf_set *set, const json_t *value, keys_report_fn *report, void *arg)
{
    struct channels_conf *channels = arena_alloc(&set->mem, sizeof *channels);
    const struct queue_conf *queue = set->section[CONF_QUEUE];

    set->section[CONF_CHANNELS] = channels;
    return channels_conf_read(value, json_object_get(set->document, "pools"), queue->notices_in_hours, channels,
                              &set->mem, report, arg);
}

static unsigned read_notices(struct conf_set *set, const json_t *value UNUSED, keys_report_fn *report UNUSED,
                             void *arg UNUSED)
{
    const struct server_conf *server = set->section[CONF_SERVER];

    notices_conf_complete((struct notices_conf *)(uintptr_t)set->section[CONF_NOTICES], server->hostname, &set->mem);
    return 0;
}

static const void *channel_item(const struct conf_set *set, size_t i, slice *name)
{
    const struct channels_conf *c = set->section[CONF_CHANNELS];

    if (i >= c->channel_count)
        return NULL;
    *name = c->channels[i].name;
    return &c->channels[i];
}

static const void *pool_item(const struct conf_set *set, size_t i, slice *name)
{
    const struct channels_conf *c = set->section[CONF_CHANNELS];

    if (i >= c->pool_count)
        return NULL;
    *name = c->pools[i].name;
    return &c->pools[i];
}

/* In the order in which the manual and `config show --effective` have them. */
const struct config_section config_sections[] = {
    { CONF_SERVER, "server", &server_keys, read_server, NULL, NULL, NULL },
    { CONF_NET, "listeners", NULL, read_listeners, "Where is listened, by name; without it the usual ports.",
      &listener_keys, NULL },
    { CONF_NET, "net", &net_keys, NULL, NULL, NULL, NULL },
    { CONF_TLS, "tls", &tls_keys, NULL, NULL, NULL, NULL },
    { CONF_MEMORY, "memory", &memory_keys, NULL, NULL, NULL, NULL },
    { CONF_DNS, "dns", &dns_keys, read_dns, NULL, NULL, NULL },
    { CONF_JOURNAL, "journal", &journal_keys, NULL, NULL, NULL, NULL },
    { CONF_STORE, "store", &store_keys, NULL, NULL, NULL, NULL },
    { CONF_DIR, "dir", &dir_keys, NULL, NULL, NULL, NULL },
    { CONF_AUTH, "auth", &auth_keys, NULL, NULL, NULL, NULL },
    { CONF_INTAKE, "intake", &intake_keys, read_intake, NULL, NULL, NULL },
    { CONF_SMTP, "smtp", &smtp_keys, NULL, NULL, NULL, NULL },
    { CONF_LMTP, "lmtp", &lmtp_keys, NULL, NULL, NULL, NULL },
    { CONF_SMTP_CLIENT, "smtp_client", &smtp_client_keys, NULL, NULL, NULL, NULL },
    { CONF_IMAP, "imap", &imap_keys, NULL, NULL, NULL, NULL },
    { CONF_POP3, "pop3", &pop3_keys, NULL, NULL, NULL, NULL },
    { CONF_QUEUE, "queue", &queue_keys, NULL, NULL, NULL, NULL },
    { CONF_CHANNELS, "channels", NULL, read_channels, "Channels: how mail to some destinations is delivered, by name.",
      &channel_keys, channel_item },
    { CONF_CHANNELS, "pools", NULL, NULL, "Pools: how many jobs their channels share, by name.", &pool_keys,
      pool_item },
    { CONF_NOTICES, "notices", &notices_keys, read_notices, NULL, NULL, NULL },
    { CONF_LOG, "log", &log_keys, NULL, NULL, NULL, NULL },
    { CONF_CONTROL, "control", &control_keys, NULL, NULL, NULL, NULL },
    { CONF_ROUTES, "routes", NULL, read_routes,
      "Where mail of other domains goes: [[\"example.net\", \"smtp:[10.0.0.9]:25\"]]. The first row that fits "
      "counts; without one the host is found by MX.",
      NULL, NULL },
};
const size_t config_section_count = ARRAY_LEN(config_sections);

const struct config_section *config_section_find(slice name)
{
    for (size_t i = 0; i < config_section_count; i++)
        if (slice_eq(slice_str(config_sections[i].name), name))
            return &config_sections[i];
    return NULL;
}

const struct config_section *config_section_nearest(slice name)
{
    const struct config_section *found = NULL;
    unsigned best = NEAR_MAX + 1;

    for (size_t i = 0; i < config_section_count; i++) {
        unsigned d = edit_distance(name, slice_str(config_sections[i].name), NEAR_MAX);

        if (d < best && d <= (name.len + 1) / 2) {
            best = d;
            found = &config_sections[i];
        }
    }
    return found;
}

/* before: the key up to the name of the row. */
static int row_find(const struct config_section *s, const struct key_table *table, slice before, slice name,
                    const struct key_row **row, struct err *err)
{
    const struct key_row *near;

    *row = keys_find(table, name);
    if (*row != NULL)
        return 0;
    near = keys_nearest(table, name);
    return near == NULL
               ? err_set(err, ERR_NOTFOUND, "section \"%s\" has no key \"%.*s\"", s->name, SLICE_ARG(name))
               : err_set(err, ERR_NOTFOUND, "section \"%s\" has no key \"%.*s\"; did you mean \"%.*s%s\"?", s->name,
                         SLICE_ARG(name), SLICE_ARG(before), near->name);
}

int config_key_find(slice key, struct config_key *out, struct err *err)
{
    slice name = key, word;
    bool has_more;

    word = slice_cut(&name, '.', &has_more);
    *out = (struct config_key){ .section = config_section_find(word) };
    if (out->section == NULL) {
        const struct config_section *s = config_section_nearest(word);

        return s == NULL ? err_set(err, ERR_NOTFOUND, "there is no section \"%.*s\"", SLICE_ARG(word))
                         : err_set(err, ERR_NOTFOUND, "there is no section \"%.*s\"; did you mean \"%s\"?",
                                   SLICE_ARG(word), s->name);
    }
    if (!has_more)
        return 0;
    if (out->section->table != NULL)
        return row_find(out->section, out->section->table, slice_sub(key, 0, key.len - name.len), name, &out->row, err);
    if (out->section->items == NULL)
        return err_set(err, ERR_NOTFOUND, "\"%s\" is no section of single keys; name it without more",
                       out->section->name);
    out->item = slice_cut(&name, '.', &has_more);
    if (!has_more)
        return 0;
    return row_find(out->section, out->section->items, slice_sub(key, 0, key.len - name.len), name, &out->row, err);
}
