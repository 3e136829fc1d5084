/* help.c - what may take long runs on a helper, so that no session holds its reactor. */
#include "imap/internal.h"

static void help_run(struct job *job)
{
    struct imap_session *s = CONTAINER_OF(job, struct imap_session, help);

    s->work(s);
}

static void help_done(struct job *job)
{
    struct imap_session *s = CONTAINER_OF(job, struct imap_session, help);

    s->run->is_helped = false;
    if (!session_release(&s->base))
        return;
    s->run->is_waiting = false;
    session_wake(&s->base);
}

enum imap_next imap_help(struct imap_session *s, imap_work_fn *work, imap_run_fn *resume)
{
    s->run->resume = resume;
    s->run->wait = "helper";
    s->work = work;
    s->help = (struct job){ .run = help_run, .done = help_done, .reactor = s->base.worker->reactor };
    session_hold(&s->base);
    if (s->base.worker->helpers != NULL && pool_submit(s->base.worker->helpers, &s->help)) {
        s->run->is_helped = true;
        return NEXT_WAIT;
    }
    session_release(&s->base);
    work(s); /* no helper, or so much waits for one that it is fair to be slow */
    return NEXT_AGAIN;
}
