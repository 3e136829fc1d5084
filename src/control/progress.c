#include "control/progress.h"

#include <stdio.h>
#include <unistd.h>

#define SHOW_EVERY_MS 100
#define MIB 1048576

void progress_begin(struct progress *p, const char *what, const struct clock *clock)
{
    *p = (struct progress){ .what = what, .clock = clock, .shown_ms = INT64_MIN, .is_terminal = isatty(2) == 1 };
}

static bool is_time(struct progress *p)
{
    int64_t now = clock_mono_ms(p->clock);

    if (!p->is_terminal || (p->is_shown && now - p->shown_ms < SHOW_EVERY_MS))
        return false;
    p->shown_ms = now;
    p->is_shown = true;
    return true;
}

void progress_bytes(void *progress, uint64_t done, uint64_t all)
{
    struct progress *p = progress;

    if (!is_time(p))
        return;
    if (all == 0)
        fprintf(stderr, "\r%s: %llu MiB\033[K", p->what, (unsigned long long)(done / MIB));
    else
        fprintf(stderr, "\r%s: %3.0f %% of %llu MiB\033[K", p->what, 100.0 * (double)done / (double)all,
                (unsigned long long)((all + MIB - 1) / MIB));
}

void progress_text(struct progress *p, const char *text)
{
    if (is_time(p))
        fprintf(stderr, "\r%s: %s\033[K", p->what, text);
}

void progress_end(struct progress *p)
{
    if (p->is_shown)
        fprintf(stderr, "\r\033[K");
    p->is_shown = false;
}
