#include "reactor/thread.h"

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define STACK_BYTES (512u * 1024)
#define NAME_BYTES 16 /* of the kernel, with the NUL */

static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT };

static void signals_to_block(sigset_t *set)
{
    sigfillset(set);
    for (size_t i = 0; i < ARRAY_LEN(fault_signals); i++)
        sigdelset(set, fault_signals[i]);
}

static size_t stack_size(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t least = (size_t)PTHREAD_STACK_MIN;

    if (bytes == 0)
        bytes = STACK_BYTES;
    if (bytes < least)
        bytes = least;
    return (bytes + page - 1) / page * page;
}

int thread_start(struct thread *t, const char *name, size_t stack_bytes, void *(*fn)(void *), void *arg,
                 struct err *err)
{
    char short_name[NAME_BYTES];
    pthread_attr_t attr;
    sigset_t block, saved;

    t->started = 0;
    int rc = pthread_attr_init(&attr);
    if (rc != 0)
        return err_sys(err, rc, "starting thread %s", name);
    rc = pthread_attr_setstacksize(&attr, stack_size(stack_bytes));
    if (rc == 0) {
        signals_to_block(&block);
        pthread_sigmask(SIG_SETMASK, &block, &saved); /* the new thread inherits it */
        rc = pthread_create(&t->id, &attr, fn, arg);
        pthread_sigmask(SIG_SETMASK, &saved, NULL);
    }
    pthread_attr_destroy(&attr);
    if (rc != 0)
        return err_sys(err, rc, "starting thread %s", name);
    t->started = 1;
    snprintf(short_name, sizeof short_name, "%s", name);
    pthread_setname_np(t->id, short_name); /* fails if the thread has ended already: no matter */
    return 0;
}

void thread_join(struct thread *t)
{
    if (!t->started)
        return;
    const int rc = pthread_join(t->id, NULL);
    if (rc != 0)
        panic("pthread_join: error %d", rc);
    t->started = 0;
}
