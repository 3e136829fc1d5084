/* conf.c - keys and counters of the room. */
#include "imap/imap.h"

#include <stddef.h>

#include "imap/internal.h"

#define KEY_CONF struct imap_conf
static const struct key_row rows[] = { IMAP_KEYS(KEY_ROW) };

const struct key_table imap_keys = {
    .section = "imap",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct imap_conf),
    .text = "The IMAP server.",
};

struct counter imap_counters[IC_COUNT] = {
    [IC_SESSIONS] = { "imap.sessions", "sessions that began", COUNTER_TOTAL, 0 },
    [IC_OPEN] = { "imap.open", "sessions now", COUNTER_GAUGE, 0 },
    [IC_COMMANDS] = { "imap.commands", "commands that were run", COUNTER_TOTAL, 0 },
    [IC_BAD] = { "imap.bad", "malformed commands", COUNTER_TOTAL, 0 },
    [IC_LOGINS] = { "imap.logins", "successful logins", COUNTER_TOTAL, 0 },
    [IC_LOGIN_FAILURES] = { "imap.login_failures", "refused logins", COUNTER_TOTAL, 0 },
    [IC_TOO_MANY_ERRORS] = { "imap.too_many_errors", "sessions ended by imap.errors_max", COUNTER_TOTAL, 0 },
    [IC_TOO_BIG] = { "imap.too_big", "literals and lines over a limit", COUNTER_TOTAL, 0 },
    [IC_TIMEOUTS] = { "imap.timeouts", "sessions ended by a timeout", COUNTER_TOTAL, 0 },
    [IC_FETCHED] = { "imap.fetched", "messages answered by FETCH", COUNTER_TOTAL, 0 },
    [IC_APPENDED] = { "imap.appended", "messages stored by APPEND", COUNTER_TOTAL, 0 },
    [IC_IDLING] = { "imap.idling", "sessions in IDLE now", COUNTER_GAUGE, 0 },
};

void imap_register(void)
{
    counter_register(imap_counters, IC_COUNT);
}
