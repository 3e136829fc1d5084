/* smtp.c - channel type smtp: mail for other hosts. */
#include "channel/remote.h"

static void start(void *context, struct channel_job *job)
{
    remote_start(context, job, false);
}

const struct channel_type channel_smtp = { .name = "smtp", .start = start };
