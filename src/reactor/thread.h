/* thread.h - named threads.
 *
 * Threads:  thread_start blocks signals in the new thread, except those that a fault of its own raises (SIGSEGV and the
 *           like): signals belong to the main one.
 * Lifetime: every started thread is joined.
 */
#ifndef REACTOR_THREAD_H
#define REACTOR_THREAD_H

#include <pthread.h>
#include <stddef.h>

#include "base/err.h"

struct thread {
    pthread_t id;
    int started;
};

/* name: at most 15 octets are shown by the kernel. stack_bytes 0 = 512 KiB; rounded up to what the system needs.
 * Returns 0 or -1. */
int thread_start(struct thread *t, const char *name, size_t stack_bytes, void *(*fn)(void *), void *arg,
                 struct err *err);
void thread_join(struct thread *t); /* no-op when not started */

#endif
