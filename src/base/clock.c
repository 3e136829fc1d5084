#include "base/clock.h"

#include <time.h>

#include "base/err.h"

static int64_t read_us(clockid_t id)
{
    struct timespec ts;

    if (clock_gettime(id, &ts) < 0)
        panic("clock %d cannot be read", (int)id);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void clock_init_real(struct clock *c)
{
    c->is_fake = false;
    atomic_init(&c->fake_mono_ms, 0);
    atomic_init(&c->fake_wall_ms, 0);
}

void clock_init_fake(struct clock *c, int64_t mono_ms, int64_t wall_ms)
{
    c->is_fake = true;
    atomic_init(&c->fake_mono_ms, mono_ms);
    atomic_init(&c->fake_wall_ms, wall_ms);
}

void clock_fake_advance(struct clock *c, int64_t ms)
{
    ASSERT(c->is_fake);
    atomic_fetch_add(&c->fake_mono_ms, ms);
    atomic_fetch_add(&c->fake_wall_ms, ms);
}

int64_t clock_mono_ms(const struct clock *c)
{
    return c->is_fake ? atomic_load(&c->fake_mono_ms) : read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(const struct clock *c)
{
    return c->is_fake ? atomic_load(&c->fake_wall_ms) : read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_us(const struct clock *c)
{
    return c->is_fake ? atomic_load(&c->fake_mono_ms) * 1000 : read_us(CLOCK_MONOTONIC);
}
