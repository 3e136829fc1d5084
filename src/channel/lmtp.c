/* lmtp.c - channel type lmtp: mail for a server that answers for each recipient (RFC 2033). */
#include "channel/remote.h"

static void start(void *context, struct channel_job *job)
{
    remote_start(context, job, true);
}

const struct channel_type channel_lmtp = { .name = "lmtp", .start = start };
