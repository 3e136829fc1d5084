/* conf.c - keys and counters of the room. */
#include <stddef.h>

#include "pop3/internal.h"

#define KEY_CONF struct pop3_conf
static const struct key_row rows[] = { POP3_KEYS(KEY_ROW) };

const struct key_table pop3_keys = {
    .section = "pop3",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct pop3_conf),
    .text = "The POP3 server.",
};

struct counter pop3_counters[PC_COUNT] = {
    [PC_SESSIONS] = { "pop3.sessions", "sessions that began", COUNTER_TOTAL, 0 },
    [PC_OPEN] = { "pop3.open", "sessions now", COUNTER_GAUGE, 0 },
    [PC_LOGINS] = { "pop3.logins", "successful logins", COUNTER_TOTAL, 0 },
    [PC_LOGIN_FAILURES] = { "pop3.login_failures", "refused logins", COUNTER_TOTAL, 0 },
    [PC_RETRIEVED] = { "pop3.retrieved", "messages sent by RETR", COUNTER_TOTAL, 0 },
    [PC_DELETED] = { "pop3.deleted", "messages deleted at QUIT", COUNTER_TOTAL, 0 },
    [PC_BAD] = { "pop3.bad", "commands that were malformed or out of order", COUNTER_TOTAL, 0 },
    [PC_TOO_MANY_ERRORS] = { "pop3.too_many_errors", "sessions ended by pop3.errors_max", COUNTER_TOTAL, 0 },
    [PC_TIMEOUTS] = { "pop3.timeouts", "sessions ended by a timeout", COUNTER_TOTAL, 0 },
};

void pop3_register(void)
{
    counter_register(pop3_counters, PC_COUNT);
}
