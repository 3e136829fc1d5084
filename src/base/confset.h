/* confset.h - one immutable snapshot of the whole configuration, as the rooms see it.
 *
 * Model:    each room declares its own key tables and structs; `config` fills them and publishes a `struct conf_set`.
 *           A room asks for its section by
 *           number and gets a `const struct smtp_conf *` and the like, never the document. A transaction or command
 *           holds the set it
 *           began with (conf_ref), so that a reload never changes rules half-way; at most two sets live.
 * Threads:  immutable after publishing; references from any thread.
 */
#ifndef BASE_CONFSET_H
#define BASE_CONFSET_H

#include "base/arena.h"
#include "base/json.h"
#include "base/snap.h"

enum conf_section {
    CONF_SERVER, /* struct server_conf (net/conf.h): host name, directories */
    CONF_JOURNAL, /* struct journal_conf */
    CONF_NET, /* struct net_conf: listeners, limits, PROXY peers */
    CONF_TLS, /* struct tls_conf */
    CONF_MEMORY,
    CONF_STORE,
    CONF_DIR,
    CONF_AUTH,
    CONF_INTAKE,
    CONF_SMTP,
    CONF_LMTP,
    CONF_IMAP,
    CONF_POP3,
    CONF_CONTROL,
    CONF_ROUTES, /* the short form of rules */
    CONF_QUEUE, /* struct queue_conf (queue/conf.h) */
    CONF_CHANNELS, /* struct channels_conf: channel blocks and pools */
    CONF_LOG, /* struct log_conf */
    CONF_DNS,
    CONF_SMTP_CLIENT,
    CONF_NOTICES, /* struct notices_conf (queue/notice.h) */
    CONF_SECTIONS
};

struct conf_set {
    struct snap snap; /* first */
    uint64_t number; /* of the load: 1, 2, … */
    const void *section[CONF_SECTIONS];
    json_t *document;
    struct arena mem;
};

static inline const void *conf_section(const struct conf_set *c, enum conf_section s)
{
    return c->section[s];
}

#endif
