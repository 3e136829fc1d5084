#include "intake/internal.h"

#include <stdio.h>

#include "base/mem.h"

#define KEY_CONF struct intake_conf
static const struct key_row rows[] = { INTAKE_KEYS(KEY_ROW) };

const struct key_table intake_keys = {
    .section = "intake",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct intake_conf),
    .text = "What is accepted, however it comes.",
};

static unsigned ranges_check(const struct key_strs *list, const char *key, keys_report_fn *report, void *arg)
{
    unsigned errors = 0;

    for (size_t i = 0; i < list->count; i++) {
        struct net_range range;
        struct err err = ERR_INIT;
        char pointer[64];

        if (net_range_parse(list->items[i], &range, &err) == 0)
            continue;
        snprintf(pointer, sizeof pointer, "/intake/%s/%zu", key, i);
        errors++;
        if (report != NULL)
            report(arg, pointer, err.text);
    }
    return errors;
}

unsigned intake_conf_check(const struct intake_conf *conf, keys_report_fn *report, void *arg)
{
    return ranges_check(&conf->refuse_clients, "refuse_clients", report, arg) +
           ranges_check(&conf->relay_networks, "relay_networks", report, arg);
}

const struct intake_reply_row intake_replies[INTAKE_REPLY_COUNT] = {
#define R(name, number, status, words) [name] = { .code = number, .enhanced = status, .text = words },
    INTAKE_REPLIES(R)
#undef R
};

struct counter intake_counters[IC_COUNT] = {
    [IC_MESSAGES] = { "intake.messages", "Messages taken, whole or in part.", COUNTER_TOTAL, 0 },
    [IC_BYTES] = { "intake.bytes", "Octets of these messages as the clients sent them.", COUNTER_TOTAL, 0 },
    [IC_CREATED] = { "intake.created", "Ledger: recipients accepted, and targets of aliases.", COUNTER_TOTAL, 0 },
    [IC_DELIVERED] = { "intake.delivered", "Ledger: recipients that ended in a mailbox.", COUNTER_TOTAL, 0 },
    [IC_REFUSED] = { "intake.refused", "Ledger: recipients refused with the message.", COUNTER_TOTAL, 0 },
    [IC_EXPANDED] = { "intake.expanded", "Ledger: recipients that were aliases and became others.", COUNTER_TOTAL, 0 },
    [IC_MERGED] = { "intake.merged", "Ledger: recipients that were in the message already.", COUNTER_TOTAL, 0 },
    [IC_QUEUED] = { "intake.queued", "Ledger: recipients handed to the queue.", COUNTER_TOTAL, 0 },
    [IC_HELD] = { "intake.held", "Looping messages that are held in the queue.", COUNTER_TOTAL, 0 },
    [IC_RCPT_REFUSED] = { "intake.rcpt_refused", "Recipients refused before the message.", COUNTER_TOTAL, 0 },
    [IC_TARGETS_LOST] = { "intake.targets_missing", "Targets of aliases that do not exist.", COUNTER_TOTAL, 0 },
    [IC_SPOOLED] = { "intake.spooled", "Messages too large for memory.", COUNTER_TOTAL, 0 },
    [IC_CLIENTS_REFUSED] = { "intake.clients_refused", "Connections refused for their address.", COUNTER_TOTAL, 0 },
    [IC_HELO_REFUSED] = { "intake.helo_refused", "Names in EHLO refused.", COUNTER_TOTAL, 0 },
    [IC_USERS_REFUSED] = { "intake.users_refused", "Users refused who may not send mail.", COUNTER_TOTAL, 0 },
};

int intake_new(struct intake **out, struct journal *j, struct store *s, struct dir *d, struct queue *q,
               struct pool *helpers, const struct clock *clock, struct err *err)
{
    struct intake *in = mem_alloc(sizeof *in);

    (void)err; /* nothing here fails yet */
    *in = (struct intake){ .journal = j, .store = s, .dir = d, .queue = q, .helpers = helpers, .clock = clock };
    counter_register(intake_counters, IC_COUNT);
    *out = in;
    return 0;
}

void intake_destroy(struct intake **in)
{
    mem_free(*in);
    *in = NULL;
}
